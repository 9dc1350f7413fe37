package identity

import "github.com/pavise/pavise"

// A Reason is the class of a refusal. The constants are the whole list; they
// are fit for a metric's label.
type Reason string

// The reasons.
const (
	Missing        Reason = "missing"       // no token
	Malformed      Reason = "malformed"     // not three parts of canonical base64url, or not strict JSON
	Oversized      Reason = "oversized"     // longer than MaxToken
	BadHeader      Reason = "header"        // brings a key, a critical extension, an unknown member or another type
	WrongIssuer    Reason = "issuer"        // no record for it
	WrongAlgorithm Reason = "algorithm"     // none, not in the issuer's record, or not of the key's type
	UnknownKey     Reason = "key"           // the key id is not in the issuer's record
	BadSignature   Reason = "signature"     // does not verify
	WrongAudience  Reason = "audience"      // made for someone else
	BadLifetime    Reason = "lifetime"      // no beginning or end, or longer than the issuer's tokens may live
	Expired        Reason = "expired"       // its end has passed
	NotYetValid    Reason = "not_yet_valid" // its beginning is still to come
	BadSubject     Reason = "subject"       // none, or one that cannot be a name
	ForbiddenRole  Reason = "role"          // asserts a role that its issuer may not give
)

// advice says, for each reason, what is wrong and what to do next. None of it
// comes from a token.
var advice = map[Reason]struct{ msg, hint string }{
	Missing:        {"no bearer token", "send Authorization: Bearer <token>"},
	Malformed:      {"the token cannot be read", "send the token exactly as its issuer gave it, in one Authorization header"},
	Oversized:      {"the token is longer than 8 KiB", "ask its issuer for one with fewer claims"},
	BadHeader:      {"the token's header has a member that is not accepted", "ask its issuer for a plain JWT: alg, kid and typ"},
	WrongIssuer:    {"the token is from an unknown issuer", "use a token of an issuer that this installation has a record of"},
	WrongAlgorithm: {"the token is signed with an algorithm its issuer is not recorded with", "add the algorithm to the issuer's record if it is meant"},
	UnknownKey:     {"the token is signed with a key its issuer is not recorded with", "if the issuer rotated its keys, pin the new set in its record"},
	BadSignature:   {"the token's signature does not verify", "get a new token; if it fails again, compare the pinned keys with the issuer's"},
	WrongAudience:  {"the token is for another audience", "ask its issuer for one for this installation"},
	BadLifetime:    {"the token has no beginning or end, or lives too long", "ask its issuer for a token with iat and exp, within the record's limit"},
	Expired:        {"the token has expired", "get a new one"},
	NotYetValid:    {"the token is not valid yet", "compare the clocks of this machine and of the issuer"},
	BadSubject:     {"the token's subject cannot be a name", "a subject takes letters, digits and . _ @ : + - and begins with a letter or digit"},
	ForbiddenRole:  {"the token asserts a role that its issuer may not give", "add the role to the issuer's record if it is meant"},
}

// A Refusal is the cause of every error of Verify and FromHeader.
type Refusal struct {
	Reason Reason
}

// Error returns the class, and nothing of the token.
func (r *Refusal) Error() string { return "token refused: " + string(r.Reason) }

func refuse(why Reason) error {
	return &pavise.Error{Kind: pavise.Unverified, Msg: advice[why].msg, Hint: advice[why].hint, Err: &Refusal{Reason: why}}
}
