package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/arw-project/arw/abi"
)

// fault puts what was being done, and where, in front of an error and gives it the code it lacks.
func (r *Registry) fault(ctx context.Context, err error, what string) error {
	if err == nil {
		return nil
	}
	// When the operation's time is over or its caller has left, that is the reason, whatever broke because of it.
	if cause := context.Cause(ctx); cause != nil && abi.CodeOf(err) != abi.Corrupt && abi.CodeOf(err) != abi.DigestMismatch {
		err = cause
	}
	code, hint := codeOf(err)
	out := abi.Errorf(code, "%s in registry %q: %w", what, r.location, err)
	out.Hint = hint
	return out
}

// codeOf finds the code of an error and the next step, if it knows one.
func codeOf(err error) (abi.Code, string) {
	if e, ok := errors.AsType[*abi.Error](err); ok {
		return e.Code, e.Hint
	}
	if code := abi.CodeOf(err); code == abi.Deadline || code == abi.Cancelled {
		return code, ""
	}
	return codeOfRemote(err)
}

func asRefusal(err error) (*refusal, bool) { return errors.AsType[*refusal](err) }

// codeOfRemote is the code of an error that a registry, the way to it, or oras produced.
func codeOfRemote(err error) (abi.Code, string) {
	if e, ok := asRefusal(err); ok {
		return codeOfStatus(e.status)
	}
	if e, ok := errors.AsType[*errcode.ErrorResponse](err); ok {
		return codeOfStatus(e.StatusCode)
	}
	if _, ok := errors.AsType[*stalled](err); ok {
		return abi.Unavailable, "the registry hangs; try again later or use another"
	}
	switch {
	case errors.Is(err, errdef.ErrNotFound):
		return codeOfStatus(http.StatusNotFound)
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return codeOfStatus(http.StatusUnauthorized)
	case errors.Is(err, errdef.ErrUnsupported):
		return abi.Unsupported, ""
	case errors.Is(err, errdef.ErrTooManyPages), errors.Is(err, errdef.ErrSizeExceedsLimit):
		return abi.TooLarge, ""
	case errors.Is(err, syscall.ECONNREFUSED):
		return abi.Unavailable, "nothing listens there: check host and port, or start it with `arw registry serve`"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return abi.Unavailable, "the transfer broke off; try again"
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return abi.Unavailable, "check the name " + e.Name
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return abi.Untrusted, "the registry's certificate is not one this host trusts; give its authority if it is your own"
	}
	return abi.Unavailable, ""
}

func codeOfStatus(status int) (abi.Code, string) {
	switch status {
	case http.StatusNotFound:
		return abi.NotFound, "check name and version; `arw pack list` shows what the registry has"
	case http.StatusUnauthorized:
		return abi.Unauthenticated, "log in to the registry (docker login), or give its token"
	case http.StatusForbidden:
		return abi.Denied, "these credentials may not do that in this repository"
	case http.StatusConflict:
		return abi.Conflict, ""
	case http.StatusRequestEntityTooLarge:
		return abi.TooLarge, ""
	case http.StatusTooManyRequests:
		return abi.Busy, ""
	case http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusUnsupportedMediaType:
		return abi.Unsupported, "the registry does not take this kind of artifact; use another"
	case http.StatusInsufficientStorage:
		return abi.StorageFull, ""
	}
	if status >= 400 && status < 500 {
		return abi.Invalid, ""
	}
	return abi.Unavailable, ""
}
