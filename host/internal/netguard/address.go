package netguard

import (
	_ "embed"
	"encoding/binary"
	"net/netip"
	"strings"
)

//go:embed special.txt
var specialText string

// Class is what kind of place an address is.
type Class string

// The classes. Only Public is an ordinary destination.
const (
	Public    Class = "public"
	Self      Class = "self" // unspecified, or one of the host's own
	Loopback  Class = "loopback"
	Private   Class = "private"
	Shared    Class = "shared"
	Link      Class = "link"
	Cloud     Class = "cloud"
	Docs      Class = "docs"
	Bench     Class = "bench"
	Protocol  Class = "protocol"
	Reserved  Class = "reserved"
	Multicast Class = "multicast"
	Wrapped   Class = "wrapped"
)

type row struct {
	prefix netip.Prefix
	class  Class
	what   string
}

// table is special.txt, the longest prefixes first.
type table struct{ v4, v6 []row }

func readTable(text string) (t table) {
	for _, f := range lines(text) {
		r := row{netip.MustParsePrefix(f[0]), Class(f[1]), strings.Join(f[2:], " ")}
		rows := &t.v6
		if r.prefix.Addr().Is4() {
			rows = &t.v4
		}
		at := 0
		for at < len(*rows) && (*rows)[at].prefix.Bits() >= r.prefix.Bits() {
			at++
		}
		*rows = append((*rows)[:at], append([]row{r}, (*rows)[at:]...)...)
	}
	return t
}

// Addresses judges addresses.
type Addresses struct {
	special table
	own     map[netip.Addr]bool
}

// NewAddresses makes a judge for a host with these addresses of its own, which are no destinations either.
func NewAddresses(own []netip.Addr) *Addresses {
	a := &Addresses{special: readTable(specialText), own: map[netip.Addr]bool{}}
	for _, ip := range own {
		a.own[ip.Unmap().WithZone("")] = true
	}
	return a
}

// Judgement is what an address is. Inner is the IPv4 address that an IPv6 one carries inside, where it does.
type Judgement struct {
	Class Class
	What  string // in words
	Inner netip.Addr
}

// OK reports whether the address is an ordinary place on the public network.
func (j Judgement) OK() bool { return j.Class == Public }

// Judge tells what an address is. One that carries another is what the inner one is, unless it is refused as such: only
// the well-known NAT64 prefix, by which a network without IPv4 reaches the public one, can be Public.
func (a *Addresses) Judge(ip netip.Addr) Judgement {
	if !ip.IsValid() || ip.Zone() != "" {
		return Judgement{Class: Link, What: "an address with a zone"}
	}
	if ip.Is4() {
		return a.judge4(ip)
	}
	inner, ways := unwrap(ip)
	j := a.lookup(ip, a.special.v6)
	switch {
	case ways == nat64 || ways == mapped:
		in := a.judge4(inner)
		if ways == nat64 && in.OK() && !a.own[ip] {
			return Judgement{Class: Public, What: "NAT64 of a public address", Inner: inner}
		}
		if in.OK() {
			in = Judgement{Class: Wrapped, What: j.What}
		}
		return Judgement{Class: in.Class, What: in.What + ", inside " + ip.String(), Inner: inner}
	case ways != plain && j.Class == Public: // ISATAP stands in anybody's prefix
		return Judgement{Class: Wrapped, What: "ISATAP", Inner: inner}
	}
	j.Inner = inner
	return j
}

func (a *Addresses) judge4(ip netip.Addr) Judgement { return a.lookup(ip, a.special.v4) }

// global is the only part of IPv6 from which public addresses are given.
var global = netip.MustParsePrefix("2000::/3")

func (a *Addresses) lookup(ip netip.Addr, rows []row) Judgement {
	for i := range rows {
		if rows[i].prefix.Contains(ip) {
			if a.own[ip] && rows[i].class != Loopback && rows[i].class.Openable() {
				break
			}
			return Judgement{Class: rows[i].class, What: rows[i].what}
		}
	}
	if a.own[ip] {
		return Judgement{Class: Self, What: "an address of this host"}
	}
	if ip.Is6() && !global.Contains(ip) {
		return Judgement{Class: Reserved, What: "outside the part of IPv6 that is in use"}
	}
	return Judgement{Class: Public, What: "public"}
}

// way is how an IPv6 address carries an IPv4 one.
type way uint8

const (
	plain way = iota
	mapped
	nat64
	other // compatible, translated, local NAT64, 6to4, Teredo, ISATAP: nothing good has these today
)

// unwrap finds the IPv4 address that an IPv6 one carries.
func unwrap(ip netip.Addr) (netip.Addr, way) {
	b := ip.As16()
	v4 := func(at int) netip.Addr { return netip.AddrFrom4([4]byte(b[at : at+4])) }
	high, low := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	switch {
	case ip.Is4In6():
		return v4(12), mapped
	case high == 0x0064ff9b_00000000 && low>>32 == 0:
		return v4(12), nat64
	case high == 0 && low>>32 == 0 && low > 1, high == 0 && low>>32 == 0xffff0000:
		return v4(12), other
	case high>>16 == 0x0064ff9b_0001:
		return v4(12), other
	case high>>48 == 0x2002:
		return v4(2), other
	case high>>32 == 0x20010000:
		return netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}), other
	case low>>32 == 0x00005efe || low>>32 == 0x02005efe:
		return v4(12), other
	}
	return netip.Addr{}, plain
}

// Openable reports whether an operator's scope may open an address of this class by naming its range.
func (c Class) Openable() bool {
	switch c {
	case Public, Loopback, Private, Shared, Link, Docs, Bench, Protocol, Reserved:
		return true
	}
	return false
}

// CheckCIDR reads a range that an operator wants to open. It must lie inside one special range of an openable class, so
// that "0.0.0.0/0" opens nothing by accident.
func (a *Addresses) CheckCIDR(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil || p != p.Masked() || p.Addr().Is4In6() {
		return p, refuse(BadHost, "%q is no range of addresses in its plain form, such as 10.1.0.0/16", show(text))
	}
	rows := a.special.v6
	if p.Addr().Is4() {
		rows = a.special.v4
	}
	for _, r := range rows {
		if r.prefix.Bits() > p.Bits() || !r.prefix.Contains(p.Addr()) {
			continue
		}
		if !r.class.Openable() {
			return p, refuse(Special, "%q is %s, which no scope opens", show(text), r.what)
		}
		return p, nil
	}
	return p, refuse(Special, "%q is not inside one range of special addresses: public addresses need no opening", show(text))
}
