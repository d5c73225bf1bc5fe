package egress

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/netguard"
)

// Tunnel is a connection whose bytes the guard passes on without reading them: what it knows is the host, the port, the name that
// the client asks for inside TLS, and how much went through. Splice runs it.
type Tunnel struct {
	g    *Guard
	dest netguard.Dest
	j    judged
	conn net.Conn

	out, in atomic.Int64
	once    sync.Once
}

// Tunnel judges "host:port" as a CONNECT, and opens the connection. Errors are Open's, and Busy when too many are open.
func (g *Guard) Tunnel(ctx context.Context, who Caller, authority Authority, hostPort string) (*Tunnel, error) {
	h := hop{kind: "tunnel", caller: who, authority: authority, method: http.MethodConnect, announced: -1}
	dest, err := netguard.ParseAuthority(hostPort)
	if h.dest = dest; err != nil {
		row := h.newRow(g.rules.Load().posture)
		return nil, g.deny(ctx, &row, refusal("", err))
	}
	if g.tunnels.Add(1) > int64(g.limits.Tunnels) {
		g.tunnels.Add(-1)
		return nil, abi.Errorf(abi.Busy, "open a tunnel to %q: %d are open", dest.Host, g.limits.Tunnels)
	}
	j, err := g.start(ctx, &h)
	if err != nil {
		g.tunnels.Add(-1)
		return nil, err
	}
	t := &Tunnel{g: g, dest: dest, j: j}
	for _, ip := range j.addresses[:min(len(j.addresses), maxTries)] {
		if t.conn, err = g.dial(ctx, "tcp", netip.AddrPortFrom(ip, dest.Port)); err == nil {
			t.j.row.Address = ip.String()
			return t, nil
		}
	}
	err = abi.Errorf(abi.CodeOf(timeout(cmpErr(ctx.Err(), err), abi.Unavailable)), "open a tunnel to %q: %w", dest.Host, err)
	t.settle(err)
	return nil, err
}

// Row is the tunnel's row of the ledger.
func (t *Tunnel) Row() string { return t.j.row.ID }

// helloTime is how long a client may take to say whom it wants.
const helloTime = 10 * time.Second

// Splice holds the client's first bytes to the host that the tunnel is for, then passes bytes both ways until one side ends, the
// lease does, nothing has moved for idle, or ctx ends. It closes both connections.
func (t *Tunnel) Splice(ctx context.Context, client net.Conn, early []byte, idle time.Duration) error {
	stop := context.AfterFunc(ctx, func() { _, _ = client.Close(), t.conn.Close() })
	defer stop()
	err := t.splice(client, early, idle)
	if ctx.Err() != nil && err == nil {
		err = abi.Errorf(abi.CodeOf(ctx.Err()), "tunnel to %q: %w", t.dest.Host, ctx.Err())
	}
	_, _ = client.Close(), t.conn.Close()
	t.settle(err)
	return err
}

func (t *Tunnel) splice(client net.Conn, early []byte, idle time.Duration) error {
	hello, err := t.hello(client, early)
	if err != nil {
		return err
	}
	results := make(chan error, 2)
	go func() {
		results <- t.pass(t.conn, io.MultiReader(bytes.NewReader(hello), deadlined{client, idle}), &t.out)
	}()
	go func() { results <- t.pass(client, deadlined{t.conn, idle}, &t.in) }()
	err = <-results
	_, _ = client.Close(), t.conn.Close() // the other direction has nobody to speak to any more
	<-results
	return err
}

// hello reads what the client says first; nothing of it is sent before it was looked at.
func (t *Tunnel) hello(client net.Conn, early []byte) ([]byte, error) {
	_ = client.SetReadDeadline(time.Now().Add(helloTime))
	defer func() { _ = client.SetReadDeadline(time.Time{}) }()
	buf := append(make([]byte, 0, 4<<10), early...)
	for {
		said, need, err := netguard.ParseHello(buf)
		switch {
		case err != nil:
			return nil, refusal(t.dest.Host, err)
		case need == 0:
			if err := netguard.CheckHello(t.dest, said); err != nil {
				return nil, refusal(t.dest.Host, err)
			}
			return buf, nil
		case len(buf)+need > netguard.MaxHello:
			return nil, refusal(t.dest.Host, &netguard.Refusal{Reason: netguard.BadTLS, Msg: "the ClientHello is too large"})
		}
		at := len(buf)
		buf = append(buf, make([]byte, need)...)
		n, err := client.Read(buf[at:])
		buf = buf[:at+n]
		if err != nil && n == 0 {
			return nil, refusal(t.dest.Host, &netguard.Refusal{Reason: netguard.BadTLS, Msg: "the client ended before it said whom it wants"})
		}
	}
}

// pass copies one way, asking the lease for every piece.
func (t *Tunnel) pass(to net.Conn, from io.Reader, moved *atomic.Int64) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			moved.Add(int64(n))
			if t.out.Load()+t.in.Load() > t.g.limits.Body {
				return abi.Errorf(abi.TooLarge, "tunnel to %q: it moved more than %d bytes", t.dest.Host, t.g.limits.Body)
			}
			if spend := t.j.permit.Spend; spend != nil {
				if err := spend(context.Background(), int64(n)); err != nil {
					return err
				}
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return nil // the side that is gone wanted no more
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
				return nil
			}
			var late net.Error
			if errors.As(err, &late) && late.Timeout() {
				return abi.Errorf(abi.Deadline, "tunnel to %q: nothing moved for too long", t.dest.Host)
			}
			return nil
		}
	}
}

// deadlined reads with a bound on silence.
type deadlined struct {
	net.Conn
	idle time.Duration
}

func (d deadlined) Read(b []byte) (int, error) {
	_ = d.SetReadDeadline(time.Now().Add(d.idle))
	return d.Conn.Read(b)
}

func (t *Tunnel) settle(err error) {
	t.once.Do(func() {
		t.g.tunnels.Add(-1)
		o := Outcome{Address: t.j.row.Address, Out: t.out.Load(), In: t.in.Load(), Code: abi.CodeOf(err).String(), Cost: t.j.price.of(1, t.out.Load()+t.in.Load())}
		if err != nil {
			o.Error = err.Error()
		}
		t.g.settle(&t.j.row, o)
	})
}

// Close gives a tunnel up that was not spliced.
func (t *Tunnel) Close() error {
	err := t.conn.Close()
	t.settle(nil)
	return err
}
