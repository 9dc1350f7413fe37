package record

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/pavise/pavise"
)

// read reads a record that is spelled as our writer spells it, a third as costly as
// encoding/json: who follows the log reads all of it. It fails on any other spelling,
// and then knows nothing: Decode asks encoding/json, to which a test holds this.
func (r *Record) read(body []byte) error {
	place := 0
	return fields(body, func(key, value []byte) error {
		if err := advance(&place, recordKeys, key); err != nil {
			return err
		}
		return r.take(key, value)
	})
}

// take reads one field.
func (r *Record) take(key, value []byte) (err error) {
	switch string(key) {
	case "kind":
		r.Kind, err = plain(value)
	case "phase":
		r.Phase, err = plain(value)
	case "tenant":
		r.Tenant, err = plain(value)
	case "at":
		err = readTime(value, &r.At)
	case "who":
		r.Who = &pavise.Principal{}
		err = readPrincipal(value, r.Who)
	case "on":
		err = readName(value, &r.On)
	case "subject":
		r.Subject, err = plain(value)
	case "outcome":
		err = readOutcome(value, &r.Outcome)
	case "policy":
		r.Policy = &Policy{}
		err = readPolicy(value, r.Policy)
	case "verdicts":
		r.Verdicts, err = readList(value, readVerdict)
	case "error":
		r.Error = &Failure{}
		err = readFailure(value, r.Error)
	default:
		err = r.takeRest(key, value)
	}
	return err
}

// takeRest reads the numbers, the detail and the envelope.
func (r *Record) takeRest(key, value []byte) (err error) {
	switch string(key) {
	case "enter":
		r.Enter = new(uint64)
		*r.Enter, err = readUint(value)
	case "settled":
		r.Settled, err = readUint(value)
	case "took_ns":
		var n uint64
		n, err = readUint(value)
		if r.Took = time.Duration(n); r.Took < 0 {
			return errSyntax
		}
	case "safe":
		err = readTrue(value, &r.Safe)
	case "detail":
		if !json.Valid(value) || string(value) == "null" {
			return errSyntax
		}
		r.Detail = append(json.RawMessage(nil), value...)
	case "sealed":
		if len(value) < 3 || value[0] != '"' || bytes.ContainsAny(value, "\r\n") { // which base64 would pass over
			return errSyntax
		}
		r.Sealed, err = base64.StdEncoding.AppendDecode(nil, value[1:len(value)-1])
	}
	return err
}

func readPrincipal(object []byte, p *pavise.Principal) error {
	place := 0
	return fields(object, func(key, value []byte) (err error) {
		if err := advance(&place, principalKeys, key); err != nil {
			return err
		}
		switch string(key) {
		case "tenant":
			p.Tenant, err = plain(value)
		case "kind":
			p.Kind, err = plain(value)
		case "id":
			p.ID, err = plain(value)
		case "issuer":
			p.Issuer, err = plain(value)
		case "roles":
			p.Roles, err = readList(value, plain)
		case "proof":
			p.Proof, err = plain(value)
		case "expires":
			err = readTime(value, &p.Expires)
		case "change":
			err = readName(value, &p.Change)
		case "environment":
			p.Environment, err = plain(value)
		case "by":
			err = readName(value, &p.By)
		}
		return err
	})
}

var policyKeys = []string{"digest", "reasons", "errors", "observed"}

func readPolicy(object []byte, p *Policy) error {
	place := 0
	return fields(object, func(key, value []byte) (err error) {
		if err := advance(&place, policyKeys, key); err != nil {
			return err
		}
		switch string(key) {
		case "digest":
			p.Digest, err = plain(value)
		case "reasons":
			p.Reasons, err = readList(value, plain)
		case "errors":
			p.Errors, err = readList(value, plain)
		case "observed":
			err = readTrue(value, &p.Observed)
		}
		return err
	})
}

var verdictKeys = []string{"check", "outcome", "reason", "observed"}

func readVerdict(object []byte) (v pavise.Verdict, err error) {
	place := 0
	err = fields(object, func(key, value []byte) (err error) {
		if err := advance(&place, verdictKeys, key); err != nil {
			return err
		}
		switch string(key) {
		case "check":
			v.Check, err = plain(value)
		case "outcome":
			err = readOutcome(value, &v.Outcome)
		case "reason":
			v.Reason, err = plain(value)
		case "observed":
			err = readTrue(value, &v.Observed)
		}
		return err
	})
	return v, err
}

var failureKeys = []string{"kind", "msg"}

func readFailure(object []byte, f *Failure) error {
	place := 0
	return fields(object, func(key, value []byte) (err error) {
		if err := advance(&place, failureKeys, key); err != nil {
			return err
		}
		if string(key) == "kind" {
			f.Kind, err = plain(value)
		} else {
			f.Msg, err = plain(value)
		}
		return err
	})
}

// readList reads an array that is not empty.
func readList[T any](array []byte, one func([]byte) (T, error)) (list []T, err error) {
	if len(array) < 2 || array[0] != '[' {
		return nil, errSyntax
	}
	for i := 1; ; {
		end := skip(array, i)
		if end < 0 || end >= len(array) {
			return nil, errSyntax
		}
		v, err := one(array[i:end])
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		switch {
		case array[end] == ',':
			i = end + 1
		case array[end] == ']' && end+1 == len(array):
			return list, nil
		default:
			return nil, errSyntax
		}
	}
}

// plain reads a string without escapes.
func plain(value []byte) (string, error) {
	if len(value) < 2 || value[0] != '"' {
		return "", errSyntax
	}
	text := value[1 : len(value)-1]
	ascii := true
	for _, c := range text {
		if c < ' ' || c == '\\' {
			return "", errSyntax
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	if !ascii && !utf8.Valid(text) {
		return "", errSyntax
	}
	return string(text), nil
}

func readOutcome(value []byte, o *pavise.Outcome) error {
	text, err := plain(value)
	*o = pavise.Outcome(text)
	return err
}

func readName(value []byte, n *pavise.Name) error {
	text, err := plain(value)
	if err != nil {
		return err
	}
	return n.UnmarshalText([]byte(text))
}

func readTime(value []byte, t *time.Time) error {
	if string(value) == "null" {
		return errSyntax
	}
	return t.UnmarshalJSON(value)
}

func readUint(value []byte) (uint64, error) {
	if len(value) == 0 || value[0] == '0' && len(value) > 1 {
		return 0, errSyntax
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, errSyntax
		}
	}
	return strconv.ParseUint(string(value), 10, 64)
}

func readTrue(value []byte, b *bool) error {
	if string(value) != "true" {
		return errSyntax
	}
	*b = true
	return nil
}
