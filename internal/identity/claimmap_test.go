package identity

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// mapped is a verifier whose record of the Ed25519 issuer has the claim map.
func mapped(t *testing.T, m ClaimMap, edit ...func(*Issuer)) *Verifier {
	t.Helper()
	i := theWorld().issuers["ed"]
	i.Claims = m
	for _, e := range edit {
		e(&i)
	}
	v, err := NewVerifier(func() time.Time { return noon }, i)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// github are the claims of a token of GitHub Actions, as far as they matter here.
var github = members{
	"sub": "repo:acme/models:ref:refs/heads/main", "repository": "acme/models", "repository_owner": "acme", "ref": "refs/heads/main",
	"job_workflow_ref": "acme/models/.github/workflows/train.yml@refs/heads/main", "environment": "prod",
	"pavise_roles": nil, "pavise_kind": nil, "run_id": "17", "repository_id": 9007199254740993,
}

// kubernetes are those of a projected service account token.
var kubernetes = members{
	"sub": "system:serviceaccount:ml:trainer", "pavise_roles": nil, "pavise_kind": nil,
	"kubernetes.io": members{"namespace": "ml", "serviceaccount": members{"name": "trainer", "uid": "0b"}, "pod": members{"name": "p"}},
}

func TestClaimMap(t *testing.T) {
	w := theWorld()
	for _, tt := range []struct {
		name   string
		m      ClaimMap
		claims members
		want   pavise.Principal
	}{
		{"GitHub Actions", ClaimMap{
			ID: `"gh:" + escape(claims.sub)`, Kind: `"workload"`, Roles: `claims.ref == "refs/heads/main" ? ["caller"] : []`,
			Environment: `claims.environment`, Organisation: `escape(claims.repository_owner)`, Require: `claims.repository == "acme/models"`,
		}, github, pavise.Principal{Kind: "workload", ID: "gh:repo:acme+2Fmodels:ref:refs+2Fheads+2Fmain", Roles: []string{"caller"}, Environment: "prod", Organisation: "acme"}},
		{"a Kubernetes service account", ClaimMap{
			Kind: `"workload"`, Roles: `["caller"]`, Require: `claims["kubernetes.io"].namespace in ["ml", "prod"]`,
		}, kubernetes, pavise.Principal{Kind: "workload", ID: "system:serviceaccount:ml:trainer", Roles: []string{"caller"}}},
		{"a node", ClaimMap{Kind: `"node"`}, members{"pavise_kind": nil, "pavise_roles": nil}, pavise.Principal{Kind: "node", ID: "alice@acme"}},
		{"groups as roles", ClaimMap{Roles: `claims.groups.filter(g, g.startsWith("pavise-")).map(g, g == "pavise-users" ? "caller" : "analyst")`},
			members{"groups": []string{"wheel", "pavise-users", "pavise-soc", "pavise-users"}}, pavise.Principal{Kind: "human", ID: "alice@acme", Roles: []string{"analyst", "caller"}}},
		{"large numbers differ", ClaimMap{Require: `claims.repository_id == 9007199254740993 && claims.repository_id != 9007199254740992`}, github, pavise.Principal{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token := w.sign(header(nil), body(tt.claims), w.byEd)
			got, err := bearer(mapped(t, tt.m), token)
			if tt.want.ID == "" { // only whether it is met
				wantRefusal(t, err, BadSubject)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Kind != tt.want.Kind || got.ID != tt.want.ID || got.Environment != tt.want.Environment || got.Organisation != tt.want.Organisation || strings.Join(got.Roles, ",") != strings.Join(tt.want.Roles, ",") {
				t.Errorf("the token proves %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestClaimMapRefuses(t *testing.T) {
	w := theWorld()
	for _, tt := range []struct {
		name string
		m    ClaimMap
		with members
		want Reason
	}{
		{"condition not met", ClaimMap{Require: `claims.repository == "acme/models"`}, members{"repository": "evil/models"}, Condition},
		{"condition on a claim that is not there", ClaimMap{Require: `claims.repository == "acme/models"`}, nil, BadClaims},
		{"condition on a claim of another type", ClaimMap{Require: `claims.repository.startsWith("acme/")`}, members{"repository": 7}, BadClaims},
		{"condition that is no bool", ClaimMap{Require: `claims.ok`}, members{"ok": "true"}, BadClaims},
		{"id that is no string", ClaimMap{ID: `claims.n`}, members{"n": 7}, BadClaims},
		{"id that is no name", ClaimMap{ID: `claims.repository`}, members{"repository": "a/b"}, BadSubject},
		{"id that is empty", ClaimMap{ID: `""`}, nil, BadSubject},
		{"kind of something else", ClaimMap{Kind: `claims.kind`}, members{"kind": "admin"}, BadKind},
		{"kind in another case", ClaimMap{Kind: `claims.kind`}, members{"kind": "Human"}, BadKind},
		{"kind that is empty", ClaimMap{Kind: `""`}, nil, BadKind},
		{"roles with a number", ClaimMap{Roles: `claims.groups`}, members{"groups": []any{"caller", 7}}, BadClaims},
		{"roles in a list of lists", ClaimMap{Roles: `claims.groups`}, members{"groups": []any{[]any{"caller"}}}, BadClaims},
		{"roles that are text", ClaimMap{Roles: `claims.groups`}, members{"groups": "caller"}, BadClaims},
		{"a role it may not give", ClaimMap{Roles: `claims.groups`}, members{"groups": []any{"operator"}}, ForbiddenRole},
		{"too many roles", ClaimMap{Roles: `claims.groups`}, members{"groups": make([]string, maxRoles+1)}, BadClaims},
		{"organisation that is no word", ClaimMap{Organisation: `claims.org`}, members{"org": "Acme & Sons"}, BadClaims},
		{"organisation that is a list", ClaimMap{Organisation: `claims.org`}, members{"org": []string{"acme"}}, BadClaims},
		{"environment that is no word", ClaimMap{Environment: `claims.env`}, members{"env": "prod dev"}, BadClaims},
		{"a whole number beyond any", ClaimMap{Require: `true`}, members{"l": []any{members{"n": json.Number("18446744073709551616")}}}, BadClaims},
		{"a number beyond any", ClaimMap{Require: `true`}, members{"n": json.Number("1e999")}, BadClaims},
		{"division by zero", ClaimMap{Require: `claims.n / 0 == 1`}, members{"n": 7}, BadClaims},
		{"a loop in loops", ClaimMap{Require: `claims.l.all(a, claims.l.all(b, claims.l.all(c, claims.l.all(d, a + b + c + d < 9999999))))`},
			members{"l": make([]int, 200)}, BadClaims},
		{"a growing text", ClaimMap{Require: `claims.l.map(a, claims.l.map(b, claims.s + claims.s + claims.s)).size() > 0`},
			members{"l": make([]int, 300), "s": strings.Repeat("x", 3000)}, BadClaims},
		{"somebody who acts for another", ClaimMap{}, members{"act": members{"sub": "agent"}}, ForbiddenClaim},
		{"somebody who was made", ClaimMap{}, members{"pavise_by": "human/olga"}, ForbiddenClaim},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := bearer(mapped(t, tt.m), w.sign(header(nil), body(tt.with), w.byEd))
			wantRefusal(t, err, tt.want)
		})
	}
}

func TestClaimMapIsChecked(t *testing.T) {
	for _, tt := range []struct {
		m   ClaimMap
		msg string
	}{
		{ClaimMap{ID: `claims.`}, "Claims.ID cannot be compiled"},
		{ClaimMap{ID: `7`}, "Claims.ID yields int"},
		{ClaimMap{ID: `claim.sub`}, "undeclared reference"},
		{ClaimMap{Kind: `["human"]`}, "Claims.Kind yields"},
		{ClaimMap{Roles: `"caller"`}, "Claims.Roles yields string"},
		{ClaimMap{Roles: `[1]`}, "Claims.Roles yields list(int)"},
		{ClaimMap{Require: `"true"`}, "Claims.Require yields string"},
		{ClaimMap{Environment: `size(claims)`}, "Claims.Environment yields int"},
		{ClaimMap{Require: `escape(7) == ""`}, "no matching overload"},
		{ClaimMap{Require: strings.Repeat("!", maxExpression) + "true"}, "is longer than"},
		{ClaimMap{Require: strings.Repeat("(", 1000) + "true" + strings.Repeat(")", 1000)}, "cannot be compiled"},
	} {
		i := theWorld().issuers["ed"]
		i.Claims = tt.m
		_, err := NewVerifier(time.Now, i)
		wantInvalid(t, err, tt.msg)
	}
}

// TestEnvironment takes it from the record where no expression says.
func TestEnvironment(t *testing.T) {
	w := theWorld()
	who := wantGood(t, mapped(t, ClaimMap{}, func(i *Issuer) { i.Environment = "dev" }), w.sign(header(nil), body(members{"environment": "prod", "pavise_environment": "prod", "pavise_origin": "https://x"}), w.byEd))
	if who.Environment != "dev" {
		t.Errorf("the environment is %q", who.Environment)
	}
	ours := mapped(t, ClaimMap{}, func(i *Issuer) { i.Environment, i.Ours = "dev", true })
	if who = wantGood(t, ours, w.sign(header(nil), body(members{"pavise_environment": "prod"}), w.byEd)); who.Environment != "prod" {
		t.Errorf("by our own word the environment is %q", who.Environment)
	}
	wantBad(t, ours, w.sign(header(nil), body(members{"pavise_environment": "a b"}), w.byEd), BadClaims)
}

// TestBy is who had an identity made, by the word of our own issuers.
func TestBy(t *testing.T) {
	w := theWorld()
	ours := func(i *Issuer) { i.Ours = true }
	who := wantGood(t, mapped(t, ClaimMap{}, ours), w.sign(header(nil), body(members{"pavise_by": "human/olga"}), w.byEd))
	if who.By.String() != "acme/human/olga" || who.Root() != who.By {
		t.Errorf("made by %v", who.By)
	}
	for _, by := range []string{"olga", "human/", "/olga", "human/olga/x", "human/a b", "../x"} {
		wantBad(t, mapped(t, ClaimMap{}, ours), w.sign(header(nil), body(members{"pavise_by": by}), w.byEd), BadSubject)
	}
}

func TestEscape(t *testing.T) {
	for subject, want := range map[string]string{
		"alice@acme":                    "alice@acme",
		"system:serviceaccount:ns:name": "system:serviceaccount:ns:name",
		"repo:o/r:ref:refs/heads/main":  "repo:o+2Fr:ref:refs+2Fheads+2Fmain",
		"a+2Fb":                         "a+2B2Fb",
		"":                              "x++",
		"-a":                            "x++-a",
		"/a":                            "x+++2Fa",
		"x++":                           "x+2B+2B",
		"über":                          "x+++C3+BCber",
		"a\x00b":                        "a+00b",
		strings.Repeat("a", 128):        strings.Repeat("a", 128),
	} {
		got := Escape(subject)
		if got != want {
			t.Errorf("Escape(%q) = %q, want %q", subject, got, want)
		}
	}
}

// TestEscapeOfLongSubjects cuts before an escaped byte, never inside one.
func TestEscapeOfLongSubjects(t *testing.T) {
	for n := 58; n < 64; n++ {
		head := strings.Repeat("a", n)
		got := Escape(head + "/" + strings.Repeat("b", 80))
		before, sum, cut := strings.Cut(got, escapeCut)
		if !cut || len(sum) != 64 || !regexp.MustCompile(`^a{58,62}(\+2Fb*)?$`).MatchString(before) || len(got) > maxName {
			t.Errorf("%d letters, then a slash: %q", n, got)
		}
	}
}

// FuzzEscape holds Escape to its word: what comes out is an id, and two subjects never
// come out the same. Short ones can be read back; long ones differ in their digest.
func FuzzEscape(f *testing.F) {
	f.Add("repo:o/r", "repo:o+2Fr")
	f.Add("", "x++")
	f.Add("x+++2F", "/")
	f.Add(strings.Repeat("/", 100), strings.Repeat("/", 101))
	f.Add(strings.Repeat("a", 62)+"+-", strings.Repeat("a", 129))
	f.Fuzz(func(t *testing.T, a, b string) {
		x, y := Escape(a), Escape(b)
		if err := (pavise.Name{Tenant: "t", Kind: "k", ID: x}).Validate(); err != nil {
			t.Fatalf("Escape(%q) = %q: %v", a, x, err)
		}
		if (a == b) != (x == y) {
			t.Fatalf("Escape(%q) = %q and Escape(%q) = %q", a, x, b, y)
		}
		if again := Escape(x); again == x && x != a {
			t.Fatalf("%q and %q both become %q", a, x, x)
		}
	})
}
