package abi

import (
	"context"
	"errors"
	"fmt"
)

// Error is a failure with a stable code. Msg says what was being done and names the thing in quotes; Hint, when there
// is one, is the next step for a person and replaces the table's general one; Detail carries machine-readable reasons
// and must marshal to JSON.
type Error struct {
	Code   Code
	Msg    string
	Hint   string
	Detail any
	Err    error // the cause, for errors.Is and errors.As; already part of Msg
}

// Errorf makes an Error; %w records the cause, as fmt.Errorf does.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Msg: err.Error(), Err: errors.Unwrap(err)}
}

// Error is the message alone; the code and the hint are for whoever shows it.
func (e *Error) Error() string { return e.Msg }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is an *Error of the same code and no message of its own, so that
// errors.Is(err, &abi.Error{Code: abi.Denied}) asks for the code alone.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Msg == "" && t.Code == e.Code
}

// WithHint sets the next step and returns e.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// WithDetail sets the machine-readable part and returns e.
func (e *Error) WithDetail(detail any) *Error {
	e.Detail = detail
	return e
}

// CodeOf finds the code of an error: OK for nil, the outermost Error's, Deadline and Cancelled for the context's own
// errors, Internal for everything else.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return Deadline
	case errors.Is(err, context.Canceled):
		return Cancelled
	}
	return Internal
}

// HintOf is the next step for a person: the error's own, else the table's.
func HintOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Hint != "" {
		return e.Hint
	}
	return CodeOf(err).Info().Next
}
