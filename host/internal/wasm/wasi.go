package wasm

import (
	"context"
	cryptorand "crypto/rand"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"

	"github.com/arw-project/arw/abi"
)

// Errors of WASI preview 1.
const (
	wasiOK      = 0
	wasiBadFD   = 8
	wasiFault   = 21
	wasiInvalid = 28
	wasiNoSys   = 52
	wasiSeek    = 70
)

// Bounds of what a guest may print in one call.
const (
	maxPrinted = 1 << 20
	maxTail    = 1 << 10
)

// epoch is where the fixed clock stands when a call begins; each reading moves it by a microsecond and each sleep by its
// length, so that a guest that waits for time to pass goes on.
var epoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()

// wasiState is what WASI keeps for one call.
type wasiState struct {
	asked   [2]bool // whether the gate was asked for clock and rand in this call
	granted [2]bool
	fixed   int64 // nanoseconds the fixed clock has moved
	rng     *rand.ChaCha8
	lines   [2][]byte // unfinished lines of stdout and stderr
	printed int
	head    []byte // the beginning of stderr
	tail    []byte // and its end
}

// state makes the state when it is first needed: most calls of small guests never do.
func (c *call) state() *wasiState {
	if c.wasi == nil {
		c.wasi = &wasiState{}
	}
	return c.wasi
}

type wasiFunc func(c *call, a []uint64) uint32

// wasiTypes are the signatures of every function of preview 1.
func wasiTypes() map[string]signature {
	types := map[string]signature{}
	for _, line := range strings.Fields(wasiTable) {
		name, params, _ := strings.Cut(line, ":")
		params = strings.NewReplacer("i", i32, "l", i64).Replace(params)
		types[name] = signature{params, i32}
	}
	types["proc_exit"] = signature{i32, ""}
	return types
}

// wasiTable has name:parameters, i for i32 and l for i64. All but proc_exit return an i32.
const wasiTable = `args_get:ii args_sizes_get:ii environ_get:ii environ_sizes_get:ii clock_res_get:ii clock_time_get:ili
fd_advise:illi fd_allocate:ill fd_close:i fd_datasync:i fd_fdstat_get:ii fd_fdstat_set_flags:ii fd_fdstat_set_rights:ill
fd_filestat_get:ii fd_filestat_set_size:il fd_filestat_set_times:illi fd_pread:iiili fd_prestat_get:ii fd_prestat_dir_name:iii
fd_pwrite:iiili fd_read:iiii fd_readdir:iiili fd_renumber:ii fd_seek:ilii fd_sync:i fd_tell:ii fd_write:iiii
path_create_directory:iii path_filestat_get:iiiii path_filestat_set_times:iiiilli path_link:iiiiiii path_open:iiiiillii
path_readlink:iiiiii path_remove_directory:iii path_rename:iiiiii path_symlink:iiiii path_unlink_file:iii poll_oneoff:iiii
proc_raise:i sched_yield: random_get:ii sock_accept:iii sock_recv:iiiiii sock_send:iiiii sock_shutdown:ii`

// wasiFuncs are the functions that do something. Every other one answers that the descriptor is bad when its name speaks
// of files (there are none), else that it is not there.
func wasiFuncs() map[string]wasiFunc {
	return map[string]wasiFunc{
		"args_get": wasiEmpty, "environ_get": wasiEmpty, "args_sizes_get": wasiSizes, "environ_sizes_get": wasiSizes,
		"clock_res_get": wasiClockRes, "clock_time_get": wasiClockTime, "fd_fdstat_get": wasiFdstat, "fd_read": wasiRead,
		"fd_seek": wasiSeekFn, "fd_tell": wasiSeekFn, "fd_write": wasiWrite, "fd_fdstat_set_flags": wasiStd, "fd_close": wasiStd,
		"fd_sync": wasiStd, "fd_datasync": wasiStd, "poll_oneoff": wasiPoll, "random_get": wasiRandom, "sched_yield": wasiEmpty,
	}
}

// linkWASI makes what is imported of WASI. It opens nothing, tells nothing of the host, and prints to the pack's log.
func linkWASI(ctx context.Context, rt wazero.Runtime, imports []Import) error {
	b := rt.NewHostModuleBuilder(wasiModule)
	funcs, any := wasiFuncs(), false
	for name, sig := range wasiTypes() {
		if !slices.Contains(imports, Import{wasiModule, name}) {
			continue
		}
		any = true
		b.NewFunctionBuilder().WithGoModuleFunction(wasiFunction(name, funcs), []byte(sig.params), []byte(sig.results)).WithName(name).Export(name)
	}
	if !any {
		return nil
	}
	_, err := b.Instantiate(ctx)
	return err
}

// wasiFunction makes one function of WASI for the engine.
func wasiFunction(name string, funcs map[string]wasiFunc) api.GoModuleFunc {
	switch run := funcs[name]; {
	case name == "proc_exit":
		return wasiExit
	case run != nil:
		return wasiWrap(name, run)
	case strings.HasPrefix(name, "fd_"), strings.HasPrefix(name, "path_"), strings.HasPrefix(name, "sock_"):
		return func(_ context.Context, _ api.Module, stack []uint64) { stack[0] = wasiBadFD }
	}
	return func(_ context.Context, _ api.Module, stack []uint64) { stack[0] = wasiNoSys }
}

func wasiWrap(name string, run wasiFunc) api.GoModuleFunc {
	return func(ctx context.Context, _ api.Module, stack []uint64) {
		c := ctx.(*call)
		c.inside = name
		r := uint64(run(c, stack))
		if len(stack) > 0 {
			stack[0] = r
		}
		c.charge()
		c.inside = ""
	}
}

func wasiExit(ctx context.Context, _ api.Module, stack []uint64) {
	c := ctx.(*call)
	c.exited, c.exitCode = true, uint32(stack[0])
	panic(sys.NewExitError(c.exitCode))
}

func wasiEmpty(*call, []uint64) uint32 { return wasiOK }

func (c *call) put32(ptr uint64, v uint32) bool {
	b, ok := c.bytes(uint32(ptr), 4)
	if ok {
		binary.LittleEndian.PutUint32(b, v)
	}
	return ok
}

func (c *call) put64(ptr, v uint64) uint32 {
	b, ok := c.bytes(uint32(ptr), 8)
	if !ok {
		return wasiFault
	}
	binary.LittleEndian.PutUint64(b, v)
	return wasiOK
}

func wasiSizes(c *call, a []uint64) uint32 {
	if !c.put32(a[0], 0) || !c.put32(a[1], 0) {
		return wasiFault
	}
	return wasiOK
}

// ambient asks the gate, once per call, whether what a language's runtime uses unasked comes from the host: i is 0 for
// the clock and 1 for randomness.
func (c *call) ambient(i int, cap abi.Capability, offered bool) bool {
	if !c.state().asked[i] {
		c.state().asked[i] = true
		if c.effects > abi.Pure && !c.booting {
			answer := c.ambientAnswer(wasiLease, uint64(i), 1, nil, func() []byte {
				if !offered || c.gate == nil {
					return []byte{0}
				}
				if _, err := c.use(cap, "", 0); err != nil {
					return []byte{0}
				}
				return []byte{1}
			})
			c.state().granted[i] = len(answer) == 1 && answer[0] == 1
		}
	}
	return c.state().granted[i]
}

func (c *call) realClock() bool { return c.ambient(0, abi.Clock, c.host.Clock != nil) }

// now reads a clock: 0 wall, 1 monotonic (also for the two that measure processor time).
func (c *call) now(id uint32) int64 {
	if !c.realClock() {
		c.state().fixed += int64(time.Microsecond)
		if id == 0 {
			return epoch + c.state().fixed
		}
		return c.state().fixed
	}
	var t [8]byte
	copy(t[:], c.ambientAnswer(wasiClock, uint64(id), 8, nil, func() []byte {
		if id == 0 {
			return le8(c.host.Clock.Now().UnixNano())
		}
		return le8(int64(c.host.Clock.Monotonic()))
	}))
	return int64(binary.LittleEndian.Uint64(t[:]))
}

func wasiClockRes(c *call, a []uint64) uint32 {
	if uint32(a[0]) > 3 {
		return wasiInvalid
	}
	return c.put64(a[1], 1000)
}

func wasiClockTime(c *call, a []uint64) uint32 {
	if uint32(a[0]) > 3 {
		return wasiInvalid
	}
	return c.put64(a[2], uint64(c.now(uint32(a[0]))))
}

func wasiRandom(c *call, a []uint64) uint32 {
	out, ok := c.view(a, 0)
	if !ok {
		return wasiFault
	}
	if c.effects == abi.Pure || c.booting {
		if c.state().rng == nil {
			c.state().rng = rand.NewChaCha8(c.in.p.seed)
		}
		_, _ = c.state().rng.Read(out) // it never fails
		return wasiOK
	}
	var src io.Reader = cryptorand.Reader
	if c.ambient(1, abi.Rand, c.host.Rand != nil) {
		src = c.host.Rand
	}
	copy(out, c.ambientAnswer(wasiRand, uint64(len(out)), len(out), nil, func() []byte {
		if _, err := io.ReadFull(src, out); err != nil {
			panic(err) // a guest that goes on with zeros would be worse
		}
		return out
	}))
	return wasiOK
}

// std says whether a descriptor is one of the three there are.
func std(fd uint64) bool { return uint32(fd) <= 2 }

func wasiStd(_ *call, a []uint64) uint32 {
	if !std(a[0]) {
		return wasiBadFD
	}
	return wasiOK
}

func wasiSeekFn(_ *call, a []uint64) uint32 {
	if !std(a[0]) {
		return wasiBadFD
	}
	return wasiSeek
}

func wasiFdstat(c *call, a []uint64) uint32 {
	if !std(a[0]) {
		return wasiBadFD
	}
	b, ok := c.bytes(uint32(a[1]), 24)
	if !ok {
		return wasiFault
	}
	clear(b)
	b[0] = 2 // a character device
	rights := uint64(1 << 1)
	if uint32(a[0]) > 0 {
		rights = 1 << 6
		b[2] = 1 // append
	}
	binary.LittleEndian.PutUint64(b[8:], rights)
	return wasiOK
}

func wasiRead(c *call, a []uint64) uint32 {
	if uint32(a[0]) != 0 {
		return wasiBadFD
	}
	if !c.put32(a[3], 0) {
		return wasiFault
	}
	return wasiOK
}

func wasiWrite(c *call, a []uint64) uint32 {
	fd, n := uint32(a[0]), uint32(a[2])
	if fd != 1 && fd != 2 {
		return wasiBadFD
	}
	if n > 1024 {
		return wasiInvalid
	}
	vec, ok := c.bytes(uint32(a[1]), n*8)
	if !ok {
		return wasiFault
	}
	total := uint32(0)
	for ; len(vec) > 0; vec = vec[8:] {
		b, ok := c.bytes(binary.LittleEndian.Uint32(vec), binary.LittleEndian.Uint32(vec[4:]))
		if !ok {
			return wasiFault
		}
		c.moved += int64(len(b))
		total += uint32(len(b))
		c.print(int(fd-1), b)
	}
	if !c.put32(a[3], total) {
		return wasiFault
	}
	return wasiOK
}

// print collects lines of stdout (0) and stderr (1) for the log, within bounds.
func (c *call) print(stream int, b []byte) {
	if stream == 1 {
		c.state().remember(b)
	}
	left := maxPrinted - c.state().printed
	c.state().printed += min(len(b), left)
	for b = b[:min(len(b), left)]; len(b) > 0; {
		line, rest, full := cutLine(b, maxLine-len(c.state().lines[stream]))
		c.state().lines[stream] = append(c.state().lines[stream], line...)
		if full {
			c.flush(stream)
		}
		b = rest
	}
}

// remember keeps both ends of stderr, for the message of a crash.
func (w *wasiState) remember(b []byte) {
	n := min(len(b), maxTail-len(w.head))
	w.head = append(w.head, b[:n]...)
	w.tail = append(w.tail, b[max(n, len(b)-maxTail):]...)
	w.tail = w.tail[max(0, len(w.tail)-maxTail):]
}

// cutLine takes a line, or as much as fits.
func cutLine(b []byte, room int) (line, rest []byte, full bool) {
	for i, ch := range b {
		if ch == '\n' {
			return b[:i], b[i+1:], true
		}
		if i+1 == room {
			return b[:i+1], b[i+1:], true
		}
	}
	return b, nil, false
}

// flush sends a line to the log, or to the host's own log while the module is loaded. A log that was not granted, or
// whose lease ended, gets nothing.
func (c *call) flush(stream int) {
	if c.wasi == nil {
		return
	}
	line := string(c.state().lines[stream])
	c.state().lines[stream] = c.state().lines[stream][:0]
	if line == "" {
		return
	}
	line = clean(line, maxLine)
	if c.booting {
		c.in.p.engine.log.Debug("guest printed while loading", "pack", c.in.p.spec.Name, "line", line)
		return
	}
	c.logLine(wasiPrints, uint64(stream), 1+stream, line)
}

// logLine logs what a guest says without waiting for an answer; name and arg are for the record.
func (c *call) logLine(name string, arg uint64, level int, line string) {
	c.ambientAnswer(name, arg, 0, []byte(line), func() []byte {
		if c.host.Log == nil || c.gate == nil {
			return nil
		}
		if _, err := c.use(abi.Log, "", len(line)); err != nil {
			return nil
		}
		if err := c.host.Log.Write(c, level, line); err != nil {
			c.in.p.engine.log.ErrorContext(c, "guest log failed", "pack", c.in.p.spec.Name, "error", err)
		}
		return nil
	})
}

const (
	subscriptionSize = 48
	eventSize        = 32
)

// wasiPoll is how WASI sleeps. Standard streams are always ready; a clock is waited for, at most to the call's deadline.
func wasiPoll(c *call, a []uint64) uint32 {
	n := uint32(a[2])
	if n == 0 || n > 4096 {
		return wasiInvalid
	}
	subs, ok := c.bytes(uint32(a[0]), n*subscriptionSize)
	events, fits := c.bytes(uint32(a[1]), n*eventSize)
	if !ok || !fits {
		return wasiFault
	}
	c.moved += int64(len(subs))
	shortest, ready := int64(-1), false
	waits := make([]int64, n)
	for i := range waits {
		sub := subs[i*subscriptionSize:]
		if sub[8] != 0 {
			ready = true
			continue
		}
		waits[i] = c.timeout(sub)
		if shortest < 0 || waits[i] < shortest {
			shortest = waits[i]
		}
	}
	if ready {
		shortest = 0
	}
	c.sleep(time.Duration(shortest))
	count := uint32(0)
	for i, wait := range waits {
		if wait <= shortest {
			writeEvent(events[count*eventSize:], subs[i*subscriptionSize:])
			count++
		}
	}
	if !c.put32(a[3], count) {
		return wasiFault
	}
	return wasiOK
}

// timeout is how long a clock subscription waits from now.
func (c *call) timeout(sub []byte) int64 {
	id, t := binary.LittleEndian.Uint32(sub[16:]), binary.LittleEndian.Uint64(sub[24:])
	wait := int64(min(t, 1<<62))
	if binary.LittleEndian.Uint16(sub[40:])&1 != 0 {
		wait -= c.now(id)
	}
	return max(wait, 0)
}

func writeEvent(event, sub []byte) {
	event = event[:eventSize]
	copy(event[:8], sub[:8])
	clear(event[8:])
	event[10] = sub[8]
	if sub[8] != 0 && !std(uint64(binary.LittleEndian.Uint32(sub[16:]))) {
		event[8] = wasiBadFD
	}
}

func (c *call) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	if !c.realClock() {
		c.state().fixed += int64(d)
		return
	}
	c.ambientAnswer(wasiSleep, uint64(d), 0, nil, func() []byte {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.Done():
		}
		return nil
	})
}
