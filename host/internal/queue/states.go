package queue

import "github.com/arw-project/arw/abi"

// State is where a job stands.
type State string

// The states. A job that is Gone is not in the queue any more.
const (
	Gone   State = ""
	Ready  State = "ready"
	Leased State = "leased"
	Dead   State = "dead"
)

// Move is a step of a job.
type Move string

// The moves.
const (
	Put     Move = "put"
	Take    Move = "take"
	Done    Move = "done"
	Again   Move = "again" // given back by its holder, or its lease ran out
	Bury    Move = "bury"
	Cancel  Move = "cancel"
	Requeue Move = "requeue"
	Drop    Move = "drop"
)

// moves is every legal step: the picture of the package comment.
var moves = map[State]map[Move]State{
	Gone:   {Put: Ready},
	Ready:  {Take: Leased, Cancel: Gone, Bury: Dead},
	Leased: {Done: Gone, Again: Ready, Bury: Dead},
	Dead:   {Requeue: Ready, Drop: Gone},
}

// Next is where a move leads. NotFound for a job that is not there; Conflict when the move does not begin where the job
// stands.
func Next(id string, from State, m Move) (State, error) {
	if to, ok := moves[from][m]; ok {
		return to, nil
	}
	if from == Gone {
		return from, abi.Errorf(abi.NotFound, "%s job %q: it is not in the queue", m, id)
	}
	return from, abi.Errorf(abi.Conflict, "%s job %q: it is %s", m, id, from)
}

// Back is where a lease leads that ends without a word: to the line, or to the dead when its attempts are used up.
func Back(l Lease) Move {
	if l.Last() {
		return Bury
	}
	return Again
}
