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
	KeysAway       Reason = "keys_away"     // the issuer's keys cannot be fetched, or are too old
	WrongAlgorithm Reason = "algorithm"     // none, not in the issuer's record, or not of the key's type
	UnknownKey     Reason = "key"           // the key id is not in the issuer's record
	BadSignature   Reason = "signature"     // does not verify
	WrongAudience  Reason = "audience"      // made for someone else
	BadLifetime    Reason = "lifetime"      // no beginning or end, or longer than the issuer's tokens may live
	Expired        Reason = "expired"       // its end has passed
	NotYetValid    Reason = "not_yet_valid" // its beginning is still to come
	BadSubject     Reason = "subject"       // none, or one that cannot be a name
	BadKind        Reason = "kind"          // says that the subject is what no caller can be
	ForbiddenRole  Reason = "role"          // asserts a role that its issuer may not give
	ForbiddenClaim Reason = "claim"         // says who acts for whom or had it made, which only our own issuers may
	BadClaims      Reason = "claims"        // the record's claim map makes nothing of them
	Condition      Reason = "condition"     // does not meet the record's condition
	Revoked        Reason = "revoked"       // given out before what was revoked

	Unbound     Reason = "unbound"       // bound to no key, where it must be
	NotHolder   Reason = "holder"        // bound to a key that the caller has not shown to have: stolen, perhaps
	BadProof    Reason = "proof"         // the proof of possession cannot be read, or does not verify
	WrongTarget Reason = "proof_target"  // it is for another method or URL
	StaleProof  Reason = "proof_time"    // it was not made just now
	WrongToken  Reason = "proof_token"   // it is for another token
	Replayed    Reason = "proof_replay"  // it was used before
	ProofsFull  Reason = "proofs_in_use" // as many proofs as can be remembered are in use

	BadCertificate Reason = "certificate"  // is no X.509-SVID
	UnknownDomain  Reason = "trust_domain" // no record for its trust domain
	BadChain       Reason = "chain"        // does not verify up to a root of its trust domain, now
	UnknownPath    Reason = "path"         // its SPIFFE path is no caller's
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
	KeysAway:       {"the keys of the token's issuer cannot be fetched, or are too old to trust", "try again in a moment; the issuer's discovery document and key set must be reachable from here"},
	BadKind:        {"the token's subject is of a kind that its issuer may not vouch for", "a subject is human or workload; a node only if the issuer's record says so"},
	ForbiddenClaim: {"the token says who acts for whom, or who had it made, and its issuer may not say so", "ask its issuer for a token of the caller itself, without act and pavise_by"},
	BadClaims:      {"the issuer's record makes nothing of the token's claims", "compare the expressions in the record with the claims of such a token"},
	Condition:      {"the token does not meet the condition in its issuer's record", "use one from where the record allows"},
	Revoked:        {"what the token or certificate proves was revoked", "get a new one; if that is refused too, ask who revoked it"},
	Unbound:        {"the token is bound to no key of yours, as it must be here", "get a token with DPoP (RFC 9449) or over mutual TLS (RFC 8705)"},
	NotHolder:      {"the token is bound to a key that this request does not show", "send it with the scheme DPoP and a proof of its key, or over the client certificate that it was given for"},
	BadProof:       {"the DPoP proof cannot be verified", "send one DPoP header: a JWT of type dpop+jwt with the public key in jwk and jti, htm, htu, iat and ath"},
	WrongTarget:    {"the DPoP proof is for another request", "make it for this method (htm) and this URL (htu), as you reach the server, without query"},
	StaleProof:     {"the DPoP proof was not made just now", "make a new one for each request, and compare the clocks"},
	WrongToken:     {"the DPoP proof is for another token", "set ath to the SHA-256 of the token, in base64url"},
	Replayed:       {"the DPoP proof was used before", "make a new one, with its own jti, for each request"},
	ProofsFull:     {"too many DPoP proofs are in use", "send fewer requests within a minute"},
	BadCertificate: {"the client certificate is no SPIFFE workload certificate", "use an X.509-SVID: one SPIFFE id as its only URI name, for signing, and no CA"},
	UnknownDomain:  {"the client certificate is of an unknown trust domain", "use one of a trust domain that this installation has a record of"},
	BadChain:       {"the client certificate does not verify", "send it with its intermediates, before it ends; compare the roots in the record with those of its trust domain"},
	UnknownPath:    {"the client certificate's SPIFFE id is no caller's here", "use /human/ID, /workload/ID or /node/ID, or add the path to the trust domain's record"},
	ForbiddenRole:  {"the token asserts a role that its issuer may not give", "add the role to the issuer's record if it is meant"},
}

// kinds are those of the refusals that are not of kind Unverified.
var kinds = map[Reason]pavise.Kind{KeysAway: pavise.Unavailable, ProofsFull: pavise.Unavailable}

// A Refusal is the cause of every error of Verify and FromHeader.
type Refusal struct {
	Reason Reason
}

// Error returns the class, and nothing of the token.
func (r *Refusal) Error() string { return "token refused: " + string(r.Reason) }

func refuse(why Reason) error {
	kind, ok := kinds[why]
	if !ok {
		kind = pavise.Unverified
	}
	return &pavise.Error{Kind: kind, Msg: advice[why].msg, Hint: advice[why].hint, Err: &Refusal{Reason: why}}
}
