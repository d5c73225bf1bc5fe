package keyless

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"time"

	"github.com/arw-project/arw/abi"
)

// Device logs a person in with a browser on any machine: they open an address there and type a code (RFC 8628).
type Device struct {
	Provider
	Show func(address, code string)                       // tells the person where and what to type
	Wait func(ctx context.Context, d time.Duration) error // between two questions; nil: the clock
}

const (
	deviceGrant     = "urn:ietf:params:oauth:grant-type:device_code"
	defaultInterval = 5 * time.Second
	maxInterval     = time.Minute
)

// Token runs the login. Errors: as Browser's, and Deadline when the code ran out.
func (d Device) Token(ctx context.Context) (Token, error) {
	ends, err := d.discover(ctx)
	if err != nil {
		return Token{}, err
	}
	if ends.Device == "" || ends.Token == "" {
		return Token{}, abi.Errorf(abi.Unsupported, "log in at %q: it offers no login from another device", d.Issuer).
			WithHint("use --oidc-flow browser")
	}
	verifier := secret()
	body, err := d.post(ctx, ends.Device, url.Values{
		"client_id": {d.clientID()}, "scope": {"openid email"},
		"code_challenge": {challenge(verifier)}, "code_challenge_method": {"S256"},
	})
	if err != nil {
		return Token{}, d.told(err)
	}
	var grant struct {
		Code     string  `json:"device_code"`
		UserCode string  `json:"user_code"`
		At       string  `json:"verification_uri"`
		Interval float64 `json:"interval"`
	}
	if err := json.Unmarshal(body, &grant); err != nil || grant.Code == "" || safeURL(grant.At) != nil {
		return Token{}, abi.Errorf(abi.Invalid, "log in at %q: its answer names no code and https address to type it at", d.Issuer)
	}
	d.Show(grant.At, printable(grant.UserCode))
	form := url.Values{"grant_type": {deviceGrant}, "device_code": {grant.Code}, "client_id": {d.clientID()}, "code_verifier": {verifier}}
	return d.poll(ctx, ends.Token, form, interval(grant.Interval))
}

func interval(seconds float64) time.Duration {
	if seconds <= 0 {
		return defaultInterval
	}
	return min(time.Duration(seconds*float64(time.Second)), maxInterval)
}

// poll asks until the person has decided.
func (d Device) poll(ctx context.Context, at string, form url.Values, every time.Duration) (Token, error) {
	wait := d.Wait
	if wait == nil {
		wait = sleep
	}
	for {
		if err := wait(ctx, every); err != nil {
			return Token{}, err
		}
		t, err := d.redeem(ctx, at, form, "") // the grant of RFC 8628 knows no nonce; its device code is ours alone
		said, no := errors.AsType[*oauthError](err)
		switch {
		case !no:
			return t, err
		case said.Code == "authorization_pending":
		case said.Code == "slow_down":
			every = min(every+defaultInterval, maxInterval)
		case said.Code == "expired_token":
			return Token{}, abi.Errorf(abi.Deadline, "log in at %q: the code ran out before it was typed", d.Issuer).WithHint("start again")
		default:
			return Token{}, d.told(err)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
