// Package queue is the contract of a durable line of work: what was put in is given out again until somebody says how it
// ended, to one holder at a time, and a holder whose lease is over can change nothing any more.
//
//	       put                take
//	───────────▶ ready ─────────────────▶ leased ──▶ gone    (done)
//	              │  ▲ ◀── again, run out ──┘ │
//	     cancel ──┤  └──────── requeue ──┐    │
//	       gone ◀─┘ ── too late ──────▶ dead ◀┘              (buried, or attempts used up)
//	                                      └──▶ gone          (drop)
//
// Delivery is at least once: a process that dies with a lease has its job given out again. One visible result is made by two
// fences: a Lease carries a token that only the latest holder has, and every step takes an Also, with which the caller moves
// its own record by compare-and-set. Where the queue lives in the caller's database both are one commit; elsewhere the
// record is written first, so that the queue never knows of an end that the record does not have.
//
// Package queuetest holds every implementation to this text: local (the host's own database) and stream (NATS JetStream).
package queue

import (
	"context"
	"database/sql"
	"time"

	"github.com/arw-project/arw/abi"
)

// Priority orders jobs of all lanes: a higher one is given out first, always. Within one, lanes take turns, and within a
// lane jobs go in the order they were put in. A low job may wait for as long as higher ones come: use it for what may.
type Priority int

// The priorities; the zero value is Normal.
const (
	Low    Priority = -1
	Normal Priority = 0
	High   Priority = 1
)

// Priorities are all of them, highest first.
var Priorities = [...]Priority{High, Normal, Low}

// String is the word for it.
func (p Priority) String() string {
	switch p {
	case Low:
		return "low"
	case High:
		return "high"
	}
	return "normal"
}

// ParsePriority reads the word; empty is normal. Invalid for anything else.
func ParsePriority(word string) (Priority, error) {
	switch word {
	case "", "normal":
		return Normal, nil
	case "low":
		return Low, nil
	case "high":
		return High, nil
	}
	return Normal, abi.Errorf(abi.Invalid, "read priority %q: it is no priority", word).WithHint(`use "high", "normal" or "low"`)
}

// Bounds of what a caller chooses.
const (
	MaxID       = 256
	MaxPayload  = 64 << 10
	MaxWhy      = 4 << 10 // longer reasons are cut
	MaxAttempts = 1000
)

// DefaultAttempts is how often a job is given out when it does not say.
const DefaultAttempts = 3

// Job is a piece of work that waits. Its payload is the caller's: the queue does not look into it.
type Job struct {
	ID        string // unique among what is in the queue; no control characters, no spaces
	Lane      string // unit of fairness
	Priority  Priority
	Payload   []byte
	NotBefore time.Time // not given out before; zero means at once
	Deadline  time.Time // not given out after: then it is buried; zero means never
	Attempts  int       // how often it may be given out before it is buried; 0 means DefaultAttempts
}

// Check reports what is wrong with a job: Invalid or TooLarge.
func (j Job) Check() error {
	for _, name := range []string{j.ID, j.Lane} {
		if name == "" || len(name) > MaxID || !plain(name) {
			return abi.Errorf(abi.Invalid, "queue job %q: an id or a lane is 1 to %d bytes without spaces and control characters", j.ID, MaxID)
		}
	}
	if len(j.Payload) > MaxPayload {
		return abi.Errorf(abi.TooLarge, "queue job %q: a payload of %d bytes, limit %d", j.ID, len(j.Payload), MaxPayload)
	}
	if j.Attempts < 0 || j.Attempts > MaxAttempts || j.Priority < Low || j.Priority > High {
		return abi.Errorf(abi.Invalid, "queue job %q: %d attempts at priority %d", j.ID, j.Attempts, j.Priority).
			WithHint("attempts are 1 to %d, priorities -1 to 1", MaxAttempts)
	}
	return nil
}

func plain(s string) bool {
	for _, r := range s {
		if r <= ' ' || r == 0x7f || r == 0xfffd {
			return false
		}
	}
	return true
}

// Lease is the right to run one job until a time. It is a value: copies are the same lease.
type Lease struct {
	Job
	Attempt int       // how often it was given out, this time included; attempts that were not counted are not in it
	Token   uint64    // grows each time the job is given out: the fence
	Until   time.Time // when it runs out unless it is renewed, as the holder's clock had it
}

// Last reports whether the job is buried when this lease ends without a word.
func (l Lease) Last() bool { return l.Attempt >= max(l.Attempts, 1) }

// Also is what the caller writes beside a step: in the same commit where the queue lives in the caller's database, and durably
// before the step where it lives elsewhere. Its error takes the step back and is what the method returns.
type Also func(tx *sql.Tx) error

// AlsoTaken is an Also that sees what is about to be given out.
type AlsoTaken func(tx *sql.Tx, taken []Lease) error

// Ask is what a holder wants.
type Ask struct {
	Max int           // at most so many; 0 means 1
	For time.Duration // the lease's length; 0 means 30 seconds
	// Slot claims room for one job of a lane, or reports that there is none; nil is always room. It is called with the queue's
	// lock held and must not call the queue. Free gives a claim back that came to nothing.
	Slot func(lane string) bool
	Free func(lane string)
	Also AlsoTaken
}

// Length of a lease that does not say, and the shortest there is.
const (
	DefaultLease = 30 * time.Second
	MinLease     = 100 * time.Millisecond
)

// End is how a lease ends.
type End struct {
	How   Move          // Done, Again or Bury
	Delay time.Duration // of Again: not given out before
	Why   string        // of Again and Bury, for people
	// Uncounted takes this attempt off the count: the holder gave the job back without having begun.
	Uncounted bool
	Also      Also
	// Next also takes, in the same step. What it may take is returned; nil takes nothing.
	Next *Ask
}

// Info is a job as it stands.
type Info struct {
	Job
	State   State
	Attempt int
	Created time.Time
	Moved   time.Time
	Until   time.Time // of Leased
	Why     string    // the last reason given for coming back or being buried
}

// Stats counts what is there, and what happened since Open.
type Stats struct {
	Ready, Delayed, Leased, Dead           int
	Held                                   bool
	Put, Taken, Done, Again, Expired, Lost uint64 // Lost: buried by the queue itself
}

// Held says of one job how the caller's record has it.
type Held struct {
	Job
	State   State // Ready or Dead
	Attempt int   // how often it was given out so far
	Why     string
}

// Buried is told when the queue itself gives a job up: Code is Deadline, or Interrupted when its attempts are used up. It runs
// as an Also does; the job is in no other hands. After runs once it is durable; it may be nil.
type Buried func(tx *sql.Tx, job Info, code abi.Code) (after func(), err error)

// Worker is what runs jobs.
type Worker interface {
	// Put takes a job in; it is durable when Put returns. With take the job is given out in the same step if nothing of its lane
	// waits before it and take has room; an implementation may always decline. Conflict when the id is in the queue.
	Put(ctx context.Context, j Job, take *Ask, also Also) (*Lease, error)
	// Take gives out what may run now, at once: possibly nothing. It never waits for work: see Changed.
	Take(ctx context.Context, a Ask) ([]Lease, error)
	// Renew lengthens leases, counted from now, and returns those that the holder has lost.
	Renew(ctx context.Context, length time.Duration, leases ...Lease) (lost []Lease, err error)
	// End ends a lease. Conflict when it is not the latest of its job or has run out and was given on.
	End(ctx context.Context, l Lease, e End) (next []Lease, err error)
	// Cancel takes a job back that nobody holds. NotFound; Conflict when it is leased or dead.
	Cancel(ctx context.Context, id string, also Also) error
	// Changed is closed at the next change after which Take may give more, or Stats says less.
	Changed() <-chan struct{}
	Stats() Stats
}

// Keeper is what people and a restart ask of a queue.
type Keeper interface {
	// List is at most n jobs of a state, in the order they were put in, behind the id after; empty begins.
	List(ctx context.Context, s State, after string, n int) ([]Info, error)
	// Requeue puts a dead job back in line as the job as, whose id may be another. NotFound; Conflict when id is not dead, or
	// as.ID is in the queue beside it.
	Requeue(ctx context.Context, id string, as Job, also Also) error
	// Drop forgets a dead job. NotFound; Conflict when it is not dead.
	Drop(ctx context.Context, id string, also Also) error
	// Hold makes Take give nothing, or lets it give again. It is durable.
	Hold(ctx context.Context, on bool, also Also) error
	// Restore makes the queue agree with its caller's record, for the jobs named: what is missing is put in, what another
	// life of this process held is ready again. For use before the first Take.
	Restore(ctx context.Context, jobs []Held, also Also) error
}

// Queue is one line. It is safe for concurrent use.
type Queue interface {
	Worker
	Keeper
	// Run brings back leases that ran out and buries what is too late, until ctx ends. Call it once.
	Run(ctx context.Context, buried Buried) error
	Close() error
}
