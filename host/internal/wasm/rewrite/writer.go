package rewrite

// appendU32 appends an unsigned LEB128.
func appendU32(dst []byte, v uint32) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}

// appendS64 appends a signed LEB128.
func appendS64(dst []byte, v int64) []byte {
	for {
		b := byte(v & 0x7f)
		v >>= 7
		if (v == 0 && b&0x40 == 0) || (v == -1 && b&0x40 != 0) {
			return append(dst, b)
		}
		dst = append(dst, b|0x80)
	}
}

func appendName(dst []byte, s string) []byte {
	return append(appendU32(dst, uint32(len(s))), s...)
}

// appendSection appends a section that holds body.
func appendSection(dst []byte, id byte, body []byte) []byte {
	dst = append(dst, id)
	dst = appendU32(dst, uint32(len(body)))
	return append(dst, body...)
}

// appendVector appends a section that is a list: its items as they were, then extra ones.
func appendVector(dst []byte, id byte, n int, items []byte, extra int, more []byte) []byte {
	body := make([]byte, 0, len(items)+len(more)+5)
	body = appendU32(body, uint32(n+extra))
	body = append(body, items...)
	body = append(body, more...)
	return appendSection(dst, id, body)
}
