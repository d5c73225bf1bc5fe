// Package dnsguard keeps names from becoming a way out, or a way in. A Server answers programs of this machine in the place of the
// system's resolver: only for names that somebody allows, only with addresses that somebody judged, and with nothing else. A
// Detector watches questions and answers for what is odd: data carried out in names, names that change their mind and lead inside.
//
// Neither opens a connection or asks a resolver: whom to ask, whom to tell and what is allowed are functions that the guard of
// the house passes in. Answers are short lived, so that the pin of whoever resolved the name stays the one that counts.
package dnsguard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/arw-project/arw/abi"
)

// Resolve finds the judged addresses of a name (lower case, without the last dot) for whoever asks. Denied refuses the question,
// NotFound says that there is no such name, anything else that it is not known.
type Resolve func(ctx context.Context, who, name string) ([]netip.Addr, error)

// Options of a Server; a zero field is the default behind it.
type Options struct {
	TTL     time.Duration // of an answer: 5 s
	Rate    int           // questions within a second, of all programs together: 200; above it they are refused
	Time    time.Duration // for one answer: 5 s
	Pending int           // questions being answered at once: 128
}

// Server answers DNS over UDP and TCP on loopback. It is safe for concurrent use.
type Server struct {
	resolve Resolve
	o       Options
	busy    chan struct{}
	second  atomic.Int64 // of the window below
	asked   atomic.Int64 // within it
}

// New makes a server; nothing listens before Serve.
func New(resolve Resolve, o Options) *Server {
	if o.TTL <= 0 {
		o.TTL = 5 * time.Second
	}
	if o.Rate <= 0 {
		o.Rate = 200
	}
	if o.Time <= 0 {
		o.Time = 5 * time.Second
	}
	if o.Pending <= 0 {
		o.Pending = 128
	}
	return &Server{resolve: resolve, o: o, busy: make(chan struct{}, o.Pending)}
}

// Serve answers on both until ctx ends, closes them and returns nil. Beyond loopback it refuses to.
func (s *Server) Serve(ctx context.Context, pc net.PacketConn, ln net.Listener) error {
	defer ln.Close()
	defer pc.Close()
	for _, a := range []net.Addr{pc.LocalAddr(), ln.Addr()} {
		if at, err := netip.ParseAddrPort(a.String()); err != nil || !at.Addr().IsLoopback() {
			return abi.Errorf(abi.Denied, "serve names on %s: that is not this machine alone", a)
		}
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) { s.answer(ctx, w, m) })
	servers := []*dns.Server{
		{PacketConn: pc, Handler: handler, UDPSize: 1232, MsgAcceptFunc: accept},
		{Listener: ln, Handler: handler, MaxTCPQueries: 64, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, MsgAcceptFunc: accept},
	}
	failed := make(chan error, len(servers))
	for _, one := range servers {
		go func() { failed <- one.ActivateAndServe() }()
	}
	var err error
	left := len(servers)
	select {
	case err = <-failed:
		left--
		err = abi.Errorf(abi.Unavailable, "serve names on %s: %w", pc.LocalAddr(), err)
	case <-ctx.Done():
	}
	for _, one := range servers {
		_ = one.Shutdown() // one that has not started yet ends with its socket
	}
	_, _ = pc.Close(), ln.Close()
	for range left {
		<-failed
	}
	return err
}

// accept lets through what is one plain question; everything else never reaches the handler.
func accept(h dns.Header) dns.MsgAcceptAction {
	const response, opcode = 1 << 15, 0xF << 11
	switch {
	case h.Bits&response != 0:
		return dns.MsgIgnore
	case h.Bits&opcode != 0:
		return dns.MsgRejectNotImplemented
	case h.Qdcount != 1 || h.Ancount > 0 || h.Nscount > 0 || h.Arcount > 2:
		return dns.MsgReject
	}
	return dns.MsgAccept
}

// within counts a question against the rate.
func (s *Server) within(now time.Time) bool {
	if sec := now.Unix(); s.second.Swap(sec) != sec {
		s.asked.Store(0)
	}
	return s.asked.Add(1) <= int64(s.o.Rate)
}

func (s *Server) answer(ctx context.Context, w dns.ResponseWriter, m *dns.Msg) {
	out := new(dns.Msg)
	out.SetReply(m)
	out.RecursionAvailable, out.Compress = true, true
	if o := m.IsEdns0(); o != nil {
		out.SetEdns0(1232, false)
	}
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
		out.Rcode = s.fill(ctx, w.RemoteAddr(), m.Question[0], out)
	default:
		out.Rcode = dns.RcodeServerFailure
	}
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		out.Truncate(1232)
	}
	_ = w.WriteMsg(out) // whoever asked asks again
}

// fill adds the answer to a question and gives its code. Other types than addresses have an empty answer: a record that names
// keys, ports or other hosts would lead around the guard.
func (s *Server) fill(ctx context.Context, from net.Addr, q dns.Question, out *dns.Msg) int {
	name, ok := plainName(q.Name)
	if q.Qclass != dns.ClassINET || !ok || q.Qtype == dns.TypeANY || q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR || !s.within(time.Now()) {
		return dns.RcodeRefused
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.Time)
	defer cancel()
	found, err := s.resolve(ctx, askerOf(from), name)
	switch code := abi.CodeOf(err); {
	case err == nil:
	case code == abi.NotFound:
		return dns.RcodeNameError
	case code == abi.Denied || errors.Is(err, context.Canceled):
		return dns.RcodeRefused
	default:
		return dns.RcodeServerFailure
	}
	head := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: uint32(max(s.o.TTL/time.Second, 1))}
	for _, ip := range found {
		switch {
		case q.Qtype == dns.TypeA && ip.Is4():
			out.Answer = append(out.Answer, &dns.A{Hdr: head, A: ip.AsSlice()})
		case q.Qtype == dns.TypeAAAA && ip.Is6():
			out.Answer = append(out.Answer, &dns.AAAA{Hdr: head, AAAA: ip.AsSlice()})
		}
	}
	return dns.RcodeSuccess
}

// plainName is a question's name as hosts are written: escapes and odd characters have no business here.
func plainName(q string) (string, bool) {
	name := strings.ToLower(strings.TrimSuffix(q, "."))
	if name == "" || len(name) > 253 {
		return "", false
	}
	for i := range len(name) {
		c := name[i]
		if c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return "", false
		}
	}
	return name, true
}

// askerOf names who asks by the address alone: ports change with every question.
func askerOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return "process"
	}
	return "process:dns@" + host
}
