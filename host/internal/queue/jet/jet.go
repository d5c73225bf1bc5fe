// Package jet keeps the promise of package queue on a NATS JetStream: jobs are messages that the stream holds until they are
// acknowledged, on the disks of one server or of three.
//
//	ARW_<NAME>        arw.<name>.q.<priority>.<lane>.<id>   work queue: one message a job; the server refuses a second of an id
//	                  arw.<name>.later.<id>                 jobs whose time has not come
//	ARW_<NAME>_DEAD   arw.<name>.dead.<id>                  dead letters
//	                  arw.<name>.held                       there while nothing is given out
//
// Every priority and lane has a consumer of its own, made when it is first met: an order among messages is all that a consumer
// knows, so the choice among priorities and lanes is made here, before one is asked. A process has one queue by a name to
// itself and keeps an index of it in memory. What the server waits for between two signs of life (AckWait) is the process, which
// gives them for all that it holds; when a holder's lease is over is decided here, by the monotonic clock.
//
// A step is written to the caller's record first (queue.Also) and then told to the server. When the server cannot be reached the
// telling is owed: Run does it when it can. What the server gives out meanwhile and the index knows to be over is acknowledged
// and not given on.
package jet

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/queue"
)

// Options of a queue.
type Options struct {
	Name     string        // lower-case letters, digits and dashes; one process at a time uses a name
	Replicas int           // copies of what is stored, on as many servers: 1, 3 or 5; 0 means 1
	Wait     time.Duration // how long the servers wait for a sign of life of this process; 0 means 30 seconds
	// Record commits an Also durably in the caller's own database.
	Record func(ctx context.Context, also queue.Also) error
	Log    *slog.Logger // nil means nowhere
}

// Queue implements queue.Queue.
type Queue struct {
	o    Options
	conn *nats.Conn
	js   jetstream.JetStream
	work jetstream.Stream
	dead jetstream.Stream
	log  *slog.Logger

	consumers consumers

	mu        sync.Mutex // never held while the server or the record is asked
	quiet     *sync.Cond // of mu: a job is busy no more
	jobs      map[string]*job
	leased    map[string]*job
	pools     map[pool]*stand
	turns     map[queue.Priority][]*stand
	alarms    alarms // of jobs by id; "" is for everybody
	count     struct{ ready, leased, dead int }
	delayed   int               // of ready
	acked     map[string]string // subject of the last acknowledgement by consumer
	over      map[uint64]bool
	overOrder []uint64
	held      bool
	changed   chan struct{}
	n         queue.Stats // the counters of it
	owed      []debt

	ring chan struct{} // an alarm or a debt is new: capacity 1
}

// job is what the index knows of one. Its fields are guarded by Queue.mu.
type job struct {
	queue.Job
	head    header // as it was last published
	seq     uint64 // of its message; 0 while it is owed
	order   uint64 // of its putting in
	state   queue.State
	busy    bool // a step of it is under way
	attempt int
	token   uint64
	free    int // deliveries that did not count
	msg     jetstream.Msg
	moved   time.Time
	until   time.Time // of a lease
	from    time.Time // ready, but not before; with a monotonic reading
	late    time.Time // deadline, with a monotonic reading
	later   bool      // its message waits under "later"
	lined   bool      // it is counted in its stand
	doomed  bool      // its attempts are used up: Run buries it
	why     string
}

// debt is a step that the server has not heard of yet.
type debt struct {
	what string
	pay  func(ctx context.Context) error
}

var names = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// Open makes the streams of a queue if they are missing, and reads what is in them. The connection stays the caller's link: it
// is closed by Close. Errors: Invalid; Unavailable when the server does not answer or refuses.
func Open(ctx context.Context, link *Link, o Options) (*Queue, error) {
	if !names.MatchString(o.Name) {
		return nil, abi.Errorf(abi.Invalid, "open queue %q: a name is 1 to 32 lower-case letters, digits and dashes", o.Name)
	}
	if o.Record == nil {
		return nil, abi.Errorf(abi.Internal, "open queue %q: there is no record", o.Name)
	}
	o.Replicas, o.Wait = cmp.Or(o.Replicas, 1), max(cmp.Or(o.Wait, queue.DefaultLease), queue.MinLease)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	q := &Queue{
		o: o, conn: link.conn, log: o.Log, jobs: map[string]*job{}, leased: map[string]*job{}, acked: map[string]string{}, over: map[uint64]bool{}, pools: map[pool]*stand{}, turns: map[queue.Priority][]*stand{}, ring: make(chan struct{}, 1),
	}
	q.quiet = sync.NewCond(&q.mu)
	link.told(q.reconnected)
	var err error
	if q.js, err = jetstream.New(link.conn, jetstream.WithDefaultTimeout(callTimeout)); err != nil {
		return nil, q.explain("open", err)
	}
	if err := q.streams(ctx); err != nil {
		return nil, q.explain("open", err)
	}
	q.consumers.init(q)
	if err := q.load(ctx); err != nil {
		return nil, q.explain("read", err)
	}
	return q, nil
}

// callTimeout bounds one question to the server. A cluster that elects a leader takes seconds.
const callTimeout = 5 * time.Second

// streams makes or updates both streams.
func (q *Queue) streams(ctx context.Context) (err error) {
	common := jetstream.StreamConfig{
		Storage: jetstream.FileStorage, Replicas: q.o.Replicas, MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true,
		MaxMsgSize: queue.MaxPayload + 16<<10, AllowDirect: false,
	}
	work, dead := common, common
	work.Name, work.Subjects, work.Retention = q.stream(), []string{q.subject("q.>"), q.subject("later.*")}, jetstream.WorkQueuePolicy
	dead.Name, dead.Subjects = q.stream()+"_DEAD", []string{q.subject("dead.*"), q.subject("held")}
	if q.work, err = q.js.CreateOrUpdateStream(ctx, work); err != nil {
		return err
	}
	q.dead, err = q.js.CreateOrUpdateStream(ctx, dead)
	return err
}

// Close flushes what was told to the server and closes the connection.
func (q *Queue) Close() error {
	if q.conn.IsConnected() {
		_ = q.conn.FlushTimeout(callTimeout) // what does not arrive is given out again, and taken off by the record
		q.heard()
	}
	q.conn.Close()
	return nil
}

// heard waits until the server has worked off the acknowledgements: it takes them in order for each consumer and later than it
// reads them, so the last one is said again and its answer awaited. Whoever opens the queue next finds nothing that is done.
func (q *Queue) heard() {
	q.mu.Lock()
	last := slices.Collect(maps.Values(q.acked))
	q.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	for _, reply := range last {
		if _, err := q.conn.RequestWithContext(ctx, reply, []byte("+ACK")); err != nil {
			q.log.Warn("the server did not say that it has taken the last acknowledgements; what it gives out again is known to be over", "error", err)
			return
		}
	}
}

// explain names the queue in an error of the client's.
func (q *Queue) explain(what string, err error) error {
	if err == nil {
		return nil
	}
	if _, ours := errors.AsType[*abi.Error](err); ours {
		return err
	}
	code := abi.Unavailable
	if errors.Is(err, context.Canceled) {
		code = abi.Cancelled
	}
	return abi.Errorf(code, "%s queue %q: %w", what, q.o.Name, err).WithHint("see that the NATS server runs, and that its JetStream has room and enough servers for %d copies", q.o.Replicas)
}

// touch tells those who wait for a change. The caller holds mu.
func (q *Queue) touch() {
	if q.changed != nil {
		close(q.changed)
		q.changed = nil
	}
}

// Changed implements queue.Worker.
func (q *Queue) Changed() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.changed == nil {
		q.changed = make(chan struct{})
	}
	return q.changed
}

// wake makes Run look again.
func (q *Queue) wake() {
	select {
	case q.ring <- struct{}{}:
	default:
	}
}

// Stats implements queue.Worker.
func (q *Queue) Stats() queue.Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.n
	s.Held, s.Leased, s.Dead, s.Delayed = q.held, q.count.leased, q.count.dead, q.delayed
	s.Ready = q.count.ready - q.delayed
	return s
}
