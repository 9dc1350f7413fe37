package login

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/pavise/pavise"
)

// The bounds of what a provider may ask of a device (RFC 8628, sections 3.2 and 3.5).
const (
	usualPause = 5 * time.Second
	leastPause = time.Second
	mostPause  = time.Minute
	moreSlowly = 5 * time.Second
	usualTime  = 10 * time.Minute
	mostTime   = 30 * time.Minute
)

// Device logs a person in who has a browser elsewhere: they open an URL and type a code
// (RFC 8628). The error is of kind Denied when they, or the provider, refuse, and
// Unavailable when they take too long.
func Device(ctx context.Context, cfg Config) (Grant, error) {
	s, err := begin(ctx, cfg)
	if err != nil {
		return Grant{}, err
	}
	if s.provider.Device == "" {
		return Grant{}, s.fault("has no device login")
	}
	form := url.Values{"scope": {s.scope()}}
	if s.Resource != "" {
		form.Set("resource", s.Resource)
	}
	answer, err := s.ask(ctx, s.provider.Device, form)
	if err != nil {
		return Grant{}, s.said(err)
	}
	code, typed, at := member(answer, "device_code"), member(answer, "user_code"), member(answer, "verification_uri")
	if code == "" || len(code) > maxToken || !plain(typed) || !toOpen(at) {
		return Grant{}, s.fault("asks a person for what cannot be shown")
	}
	if whole := member(answer, "verification_uri_complete"); toOpen(whole) {
		at = whole
	}
	life := seconds(answer, "expires_in", usualTime, time.Second, mostTime)
	s.Ask(Request{URL: at, Code: typed, Expires: time.Now().Add(life)})
	return s.poll(ctx, code, seconds(answer, "interval", usualPause, leastPause, mostPause), life)
}

// poll asks until the person has said yes or no.
func (s *session) poll(ctx context.Context, code string, pause, life time.Duration) (Grant, error) {
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {code}}
	if s.Resource != "" {
		form.Set("resource", s.Resource)
	}
	for waited := time.Duration(0); waited < life; waited += pause {
		if err := s.Wait(ctx, pause); err != nil {
			return Grant{}, &pavise.Error{Kind: pavise.Unavailable, Msg: "the login was broken off", Hint: "begin again", Err: err}
		}
		answer, err := s.ask(ctx, s.provider.Token, form)
		if err == nil {
			return s.grant(answer, "")
		}
		r, ok := errors.AsType[*refusal](err)
		switch {
		case ok && r.name == "authorization_pending":
		case ok && r.name == "slow_down":
			pause = min(pause+moreSlowly, mostPause)
		case ok && r.name == "expired_token":
			waited = life
		case !ok && pavise.KindOf(err) == pavise.Unavailable:
			pause = min(2*pause, mostPause) // section 3.5: a timeout is to be asked less often
		default:
			return Grant{}, s.said(err)
		}
	}
	return Grant{}, &pavise.Error{Kind: pavise.Unavailable, Msg: "nobody confirmed the login in time", Hint: "begin again, and type the code while it is good"}
}
