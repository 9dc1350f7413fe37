package issuer

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
)

// The words of RFC 8693.
const (
	grantExchange    = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccessToken  = "urn:ietf:params:oauth:token-type:access_token"
	typeIDToken      = "urn:ietf:params:oauth:token-type:id_token"
	typeJWT          = "urn:ietf:params:oauth:token-type:jwt"
	typeCertificate  = "urn:pavise:token-type:certificate" // ours: the client certificate of the connection
	givenCertificate = "connection"                        // what stands as the token then
	maxForm          = 64 << 10                            // bytes of a token request
	formTime         = 30 * time.Second                    // for all of it to arrive
)

// WellKnownPrefix is where the token service says what others need to trust it.
const WellKnownPrefix = "/.well-known/"

// WellKnown serves the OpenID configuration and the keys of the token service, to
// everybody: by them a cloud, or another Pavise, trusts its tokens.
func (e *Exchange) WellKnown() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+WellKnownPrefix+"openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		publish(w, map[string]any{
			"issuer": e.URL(), "jwks_uri": e.URL() + WellKnownPrefix + "jwks.json", "token_endpoint": e.URL() + "/v1/token",
			"grant_types_supported": []string{grantExchange}, "response_types_supported": []string{"id_token"},
			"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"ES256"},
			"token_endpoint_auth_methods_supported": []string{"none"}, "tls_client_certificate_bound_access_tokens": true,
			"dpop_signing_alg_values_supported": identity.ProofAlgorithms(),
		})
	})
	mux.HandleFunc("GET "+WellKnownPrefix+"jwks.json", func(w http.ResponseWriter, _ *http.Request) { publish(w, e.Keys()) })
	return mux
}

// publish answers with what everybody may know.
func publish(w http.ResponseWriter, v any) {
	body, _ := json.Marshal(v) // cannot fail: texts and public keys
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Write(body)
}

// A tokenForm is the body of a token exchange request (RFC 8693, section 2.1).
type tokenForm struct {
	subject, actor  string // tokens; "" is the client certificate
	acting          bool   // there is an actor
	audience, gives string // gives is the issued_token_type
	roles           []string
}

// Endpoint serves token exchange: RFC 8693, with the errors of RFC 6749 and RFC 9449, for
// whomever the verifier knows at the time.
func (e *Exchange) Endpoint(verifier func() *identity.Verifier) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.answer(w, r, verifier()) })
}

func (e *Exchange) answer(w http.ResponseWriter, r *http.Request, verifier *identity.Verifier) {
	form, err := readTokenForm(w, r)
	if err != nil {
		refuseToken(w, err)
		return
	}
	tokens := []string{form.subject}
	if form.acting {
		tokens = append(tokens, form.actor)
	}
	proofs, err := verifier.Present(r.Context(), identity.FromRequest(r), tokens...)
	if err != nil {
		refuseToken(w, e.cfg.Guard.Stranger(source(r.RemoteAddr), err))
		return
	}
	req := ExchangeRequest{Subject: proofs[0], Audience: form.audience, Roles: form.roles}
	if form.acting {
		req.Actor = &proofs[1]
	}
	given, err := e.Exchange(r.Context(), req)
	if err != nil {
		refuseToken(w, err)
		return
	}
	replyToken(w, http.StatusOK, map[string]any{
		"access_token": given.Value, "issued_token_type": form.gives, "token_type": given.Scheme,
		"expires_in": max(int(time.Until(given.Expires)/time.Second), 0), "scope": strings.Join(given.Roles, " "),
	})
}

// tokenFault is a request that cannot be understood.
func tokenFault(name, msg, hint string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: msg, Hint: hint, Err: &ExchangeFault{Name: name}}
}

// readTokenForm reads a token request strictly: each parameter once, none in the URL.
// Parameters that it does not know are passed over, as RFC 6749, section 3.2, has it.
func readTokenForm(w http.ResponseWriter, r *http.Request) (tokenForm, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" || r.URL.RawQuery != "" {
		return tokenForm{}, tokenFault(InvalidRequest, "the request is not a form in the body alone", "send Content-Type: application/x-www-form-urlencoded, and nothing in the URL")
	}
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(formTime))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		return tokenForm{}, tokenFault(InvalidRequest, "the form is longer than 64 KiB, or broke off", "send the tokens and little else")
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return tokenForm{}, tokenFault(InvalidRequest, "the form cannot be read", "encode it as application/x-www-form-urlencoded")
	}
	for name, all := range values {
		if len(all) > 1 {
			return tokenForm{}, tokenFault(InvalidRequest, "the parameter "+plainASCII(name, 40)+" is given twice", "give each once")
		}
	}
	return parseTokenForm(values)
}

func parseTokenForm(values url.Values) (form tokenForm, err error) {
	if values.Get("grant_type") != grantExchange {
		return form, tokenFault("unsupported_grant_type", "tokens are given out for others alone", "set grant_type="+grantExchange)
	}
	if form.subject, err = namedToken(values, "subject_token"); err != nil {
		return form, err
	}
	if values.Has("actor_token") || values.Has("actor_token_type") {
		form.acting = true
		if form.actor, err = namedToken(values, "actor_token"); err != nil {
			return form, err
		}
	}
	if values.Has("resource") {
		return form, tokenFault(InvalidTarget, "a resource is not looked for", "name whom the token is for with audience")
	}
	form.audience, form.gives = values.Get("audience"), typeAccessToken
	switch asked := values.Get("requested_token_type"); asked {
	case "":
	case typeAccessToken, typeJWT:
		form.gives = asked
	default:
		return form, tokenFault(InvalidRequest, "a token of that requested_token_type is not given out", "ask for "+typeAccessToken+" or "+typeJWT)
	}
	if scope := values.Get("scope"); scope != "" {
		form.roles = strings.Fields(scope)
	}
	return form, nil
}

// namedToken reads a token of the form and what sort it is. The client certificate is "".
func namedToken(values url.Values, name string) (string, error) {
	token, sort := values.Get(name), values.Get(name+"_type")
	switch {
	case token == "":
		return "", tokenFault(InvalidRequest, name+" is missing", "put the token there, as its issuer gave it")
	case sort == typeCertificate && token == givenCertificate:
		return "", nil
	case sort == typeJWT, sort == typeAccessToken, sort == typeIDToken:
		return token, nil
	}
	return "", tokenFault(InvalidRequest, name+"_type is not one that is taken", "set it to "+typeJWT+"; for the client certificate of the connection to "+typeCertificate+", and "+name+" to "+givenCertificate)
}

// refuseToken answers as RFC 6749, section 5.2, has it.
func refuseToken(w http.ResponseWriter, err error) {
	kind, name := pavise.KindOf(err), InvalidRequest
	status := http.StatusBadRequest
	switch kind {
	case pavise.Denied:
		name = "unauthorized_client"
	case pavise.Throttled, pavise.Unavailable:
		name, status = "temporarily_unavailable", kind.HTTPStatus()
		w.Header().Set("Retry-After", "1")
	case pavise.Internal:
		name, status = "server_error", http.StatusInternalServerError
	}
	if refusal, ok := errors.AsType[*identity.Refusal](err); ok && kind == pavise.Unverified && identity.AboutProof(refusal.Reason) {
		name = "invalid_dpop_proof"
	}
	if fault, ok := errors.AsType[*ExchangeFault](err); ok {
		name = fault.Name
	}
	said := "the token service could not answer"
	if e, ok := errors.AsType[*pavise.Error](err); ok && kind != pavise.Internal {
		said = e.Msg + "; " + e.Hint
	}
	body := map[string]any{"error": name, "error_description": plainASCII(said, 600)}
	if d, ok := errors.AsType[*guard.Denial](err); ok {
		body["pavise_record"] = strconv.FormatUint(d.Record, 10)
	}
	replyToken(w, status, body)
}

// source is an address without its port.
func source(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}

func replyToken(w http.ResponseWriter, status int, v map[string]any) {
	body, _ := json.Marshal(v) // cannot fail: texts and numbers
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(body)
}

// plainASCII is a text as an error_description may spell it: printable ASCII without
// quotes and backslashes, and not too much of it.
func plainASCII(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' {
			return '\''
		}
		return r
	}, s)
	return s[:min(len(s), most)]
}
