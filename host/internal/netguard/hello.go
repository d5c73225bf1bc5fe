package netguard

import (
	"encoding/binary"
	"strings"
)

// MaxHello bounds the first flight of a TLS client that is looked at.
const MaxHello = 16 << 10

// Hello is what a TLS client says first.
type Hello struct {
	ServerName string // as it was sent, lower case; empty when it names none
	Encrypted  bool   // it hides the name it means (Encrypted ClientHello)
	Protocols  []string
}

// ParseHello reads a ClientHello out of the first bytes of a connection. need is how many more bytes are wanted before it can
// be said what they are, at least; 0 with an error means that they are none. It looks at one or several handshake records
// and at nothing behind the ClientHello.
func ParseHello(b []byte) (h Hello, need int, err error) {
	var body []byte
	for left := b; ; {
		if len(left) < 5 {
			return h, 5 - len(left), nil
		}
		n := int(binary.BigEndian.Uint16(left[3:5]))
		if left[0] != 22 || left[1] != 3 || n == 0 || n > 1<<14 {
			return h, 0, refuse(BadTLS, "the first bytes are no TLS handshake")
		}
		if len(left) < 5+n {
			return h, 5 + n - len(left), nil
		}
		body = append(body, left[5:5+n]...)
		left = left[5+n:]
		if len(body) < 4 {
			continue
		}
		size := int(body[1])<<16 | int(body[2])<<8 | int(body[3])
		switch {
		case body[0] != 1:
			return h, 0, refuse(BadTLS, "the first message is no ClientHello")
		case size > MaxHello:
			return h, 0, refuse(BadTLS, "a ClientHello of %d bytes", size)
		case len(body) >= 4+size:
			h, err = parseHello(body[4 : 4+size])
			return h, 0, err
		}
	}
}

// cursor reads a message; after the first lack everything is empty and ok is false.
type cursor struct {
	b  []byte
	ok bool
}

func (c *cursor) take(n int) []byte {
	if !c.ok || n > len(c.b) {
		c.ok = false
		return nil
	}
	part := c.b[:n:n]
	c.b = c.b[n:]
	return part
}

// number is one of two bytes.
func (c *cursor) number() uint16 {
	if b := c.take(2); len(b) == 2 {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// vector is what stands behind its own length of so many bytes.
func (c *cursor) vector(width int) []byte {
	n := 0
	for _, b := range c.take(width) {
		n = n<<8 | int(b)
	}
	return c.take(n)
}

func parseHello(body []byte) (Hello, error) {
	var h Hello
	c := cursor{body, true}
	c.take(2 + 32) // version, random
	c.vector(1)    // session
	c.vector(2)    // cipher suites
	c.vector(1)    // compression
	if c.ok && len(c.b) == 0 {
		return h, nil // no extensions: no name
	}
	ext := cursor{c.vector(2), c.ok}
	if !c.ok || len(c.b) > 0 {
		return h, refuse(BadTLS, "the ClientHello is cut short or has something behind it")
	}
	seen := map[uint16]bool{}
	for ext.ok && len(ext.b) > 0 {
		kind := ext.number()
		data := ext.vector(2)
		if !ext.ok || seen[kind] {
			return h, refuse(BadTLS, "the ClientHello is cut short or has an extension twice")
		}
		seen[kind] = true
		switch kind {
		case 0:
			if !h.name(data) {
				return h, refuse(BadTLS, "the ClientHello names its server in an odd way")
			}
		case 16:
			list := cursor{data, true}
			inner := cursor{list.vector(2), list.ok}
			for inner.ok && len(inner.b) > 0 {
				h.Protocols = append(h.Protocols, string(inner.vector(1)))
			}
		case 0xfe0d:
			h.Encrypted = true
		}
	}
	return h, nil
}

// name reads the list of server names, which holds one name.
func (h *Hello) name(data []byte) bool {
	c := cursor{data, true}
	list := cursor{c.vector(2), c.ok}
	kind := list.take(1)
	name := list.vector(2)
	if !list.ok || !c.ok || len(c.b) > 0 || len(list.b) > 0 || kind[0] != 0 || len(name) == 0 {
		return false
	}
	h.ServerName = strings.ToLower(string(name))
	return true
}

// CheckHello holds a tunnel to the host it was opened for: the server that the client asks for inside TLS must be that one.
// A client that names none passes only to an address, where there is no name to give. What an Encrypted ClientHello hides
// cannot be seen: its outer name is held to the host, and every browser sends an empty one.
func CheckHello(d Dest, h Hello) error {
	if h.ServerName != d.Host && !(d.IP.IsValid() && h.ServerName == "") {
		return refuse(BadTLS, "the tunnel to %q asks for the server %q", d.Host, show(h.ServerName))
	}
	return nil
}
