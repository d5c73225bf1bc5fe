package abi

import (
	"encoding/binary"
	"encoding/json"
)

// FrameKind is the first byte of a reply frame.
type FrameKind byte

// The kinds of reply.
const (
	FrameJSON  FrameKind = 0 // the rest is one JSON value
	FrameBytes FrameKind = 1 // the rest is bytes, passed untouched
	FrameError FrameKind = 2 // code u32, message length u32 (little endian), message UTF-8, the rest optional JSON detail
)

const errorHeader = 9

// AppendFrame appends a value frame to dst.
func AppendFrame(dst []byte, kind FrameKind, body []byte) []byte {
	return append(append(dst, byte(kind)), body...)
}

// AppendErrorFrame appends an error frame to dst; detail may be nil.
func AppendErrorFrame(dst []byte, code Code, msg string, detail json.RawMessage) []byte {
	dst = append(dst, byte(FrameError))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(code))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(msg)))
	return append(append(dst, msg...), detail...)
}

// ParseFrame splits a reply frame. A value comes back as (kind, body, nil), body sharing frame's memory; an error frame
// as (FrameError, nil, *Error). A frame that is neither is an *Error with code Invalid: the guest broke the contract.
func ParseFrame(frame []byte) (FrameKind, []byte, error) {
	if len(frame) == 0 {
		return 0, nil, Errorf(Invalid, "parse reply frame: it is empty")
	}
	switch kind := FrameKind(frame[0]); kind {
	case FrameJSON, FrameBytes:
		return kind, frame[1:], nil
	case FrameError:
		return parseErrorFrame(frame)
	default:
		return 0, nil, Errorf(Invalid, "parse reply frame: kind %d is not 0 (JSON), 1 (bytes) or 2 (error)", kind)
	}
}

func parseErrorFrame(frame []byte) (FrameKind, []byte, error) {
	if len(frame) < errorHeader {
		return 0, nil, Errorf(Invalid, "parse reply frame: an error frame has at least %d bytes, this one %d", errorHeader, len(frame))
	}
	code := Code(binary.LittleEndian.Uint32(frame[1:]))
	n := binary.LittleEndian.Uint32(frame[5:])
	rest := frame[errorHeader:]
	if uint64(n) > uint64(len(rest)) {
		return 0, nil, Errorf(Invalid, "parse reply frame: message of %d bytes in %d", n, len(rest))
	}
	if code == OK || code == More || int(code) >= len(Codes) {
		return 0, nil, Errorf(Invalid, "parse reply frame: code %d is not an error code of ABI %s", code, Version)
	}
	e := &Error{Code: code, Msg: string(rest[:n])}
	if detail := rest[n:]; len(detail) > 0 {
		if !json.Valid(detail) {
			return 0, nil, Errorf(Invalid, "parse reply frame: the detail is not JSON")
		}
		e.Detail = json.RawMessage(append([]byte(nil), detail...))
	}
	return FrameError, nil, e
}
