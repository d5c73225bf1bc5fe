package codec

// skip passes the value at hand and checks that it is one.
func (d *decoder) skip() error {
	switch c := d.peek(); {
	case c == '"':
		return d.skipString()
	case c == '{':
		return d.skipMembers('}')
	case c == '[':
		return d.skipMembers(']')
	case c == 't':
		return d.literal("true")
	case c == 'f':
		return d.literal("false")
	case c == 'n':
		return d.literal("null")
	case c == '-' || '0' <= c && c <= '9':
		_, _, err := d.number()
		return err
	}
	return d.unexpected("a JSON value")
}

func (d *decoder) skipMembers(end byte) error {
	closed, err := d.enter(end)
	for more := !closed; err == nil && more; {
		if end == '}' {
			if err = d.skipKey(); err != nil {
				return err
			}
		}
		if err = d.skip(); err == nil {
			more, err = d.more(end)
		}
	}
	return err
}

func (d *decoder) skipKey() error {
	if d.peek() != '"' {
		return d.unexpected(`'"'`)
	}
	if err := d.skipString(); err != nil {
		return err
	}
	if d.space(); d.peek() != ':' {
		return d.unexpected("':'")
	}
	d.pos++
	d.space()
	return nil
}

// skipString passes a string without building it.
func (d *decoder) skipString() error {
	for d.pos++; d.pos < len(d.data); d.pos++ {
		d.pos += plain(d.data[d.pos:])
		if d.pos == len(d.data) {
			break
		}
		switch c := d.data[d.pos]; {
		case c == '"':
			d.pos++
			return nil
		case c == '\\':
			var none [4]byte
			if _, err := d.escape(none[:0]); err != nil {
				return err
			}
			d.pos--
		case c < ' ':
			return d.unexpected("no control character inside a string")
		}
	}
	return d.unexpected(`'"'`)
}
