package registry

import (
	"slices"
	"time"

	"github.com/pavise/pavise"
)

// A Model is one that the installation knows.
type Model struct {
	Name        pavise.Name       `json:"name"`
	Risk        Risk              `json:"risk"`
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	By          pavise.Name       `json:"by"`
	Created     time.Time         `json:"created"`
	Changed     time.Time         `json:"changed"`
	Newest      int               `json:"newest"`            // the number of its newest version; 0: it has none
	Aliases     map[string]int    `json:"aliases,omitempty"` // to numbers of versions
}

// A Seal is a dataset that a version was trained on.
type Seal struct {
	Name  pavise.Name `json:"name" doc:"the dataset, as tenant/dataset/id"`
	Root  string      `json:"root" doc:"the root of its seal, 64 hexadecimal digits" minLength:"64" maxLength:"64"`
	Known bool        `json:"known" doc:"the catalog of this installation knows the dataset, and has it with this root"`
}

// A Result is what came of an evaluation, or of an attack on a model.
type Result string

// The results.
const (
	Pass Result = "pass"
	Fail Result = "fail"
)

// Evidence is an evaluation or an attack, of exactly one digest.
type Evidence struct {
	Digest  Digest             `json:"digest"` // of the version, as it was then
	Result  Result             `json:"result"`
	Summary string             `json:"summary"`
	Metrics map[string]float64 `json:"metrics,omitempty"`
	Tool    string             `json:"tool,omitempty"`  // what it was made with
	Report  Digest             `json:"report,omitzero"` // of the report, which is not kept here
	By      pavise.Name        `json:"by"`              // who handed it in
	Root    pavise.Name        `json:"root"`            // who answers for them
	At      time.Time          `json:"at"`              // when
	Record  uint64             `json:"record"`          // of the log, that says so
	Stale   bool               `json:"stale,omitempty"` // the version has another digest by now: it does not count
}

// A Signature is who signed the files of a version, by OpenSSF Model Signing.
type Signature struct {
	Digest Digest    `json:"digest"` // of the bundle, which is kept
	Mode   string    `json:"mode"`   // key, certificate or sigstore
	By     string    `json:"by"`     // the key's id, the certificate's subject, or the identity
	Issuer string    `json:"issuer,omitempty"`
	Signer string    `json:"signer"`        // what the installation calls whom it believes
	Files  Digest    `json:"files"`         // the digest of a version that it holds for
	Over   Digest    `json:"over,omitzero"` // the manifest in an OCI registry that it is over, in which the files came; empty: it is over the files
	At     time.Time `json:"at"`            // when it was handed in
}

// A Scan is what a look at the files found.
type Scan struct {
	Verdict  string      `json:"verdict" enum:"clean,unreadable,suspicious,malicious" doc:"the worst that was found"`
	Findings []string    `json:"findings,omitempty" maxItems:"50" doc:"the first of them, in words"`
	More     int         `json:"more,omitempty" doc:"so many more"`
	By       pavise.Name `json:"by,omitzero" doc:"who says so; empty: this installation looked itself"`
	At       time.Time   `json:"at,omitzero"`
}

// A Version is one version of a model.
type Version struct {
	Ref         Ref               `json:"ref"`
	Tenant      string            `json:"tenant"`
	State       State             `json:"state"`
	Was         State             `json:"was,omitempty"`      // before its quarantine, which was not ended by a release
	Withdrawn   time.Time         `json:"withdrawn,omitzero"` // when it was put there
	Since       time.Time         `json:"since"`              // in this state
	Due         time.Time         `json:"due,omitzero"`       // when somebody is told that nothing came of it
	Told        int               `json:"told,omitempty"`     // so often
	Risk        Risk              `json:"risk"`
	Intake      Intake            `json:"intake"`
	Problem     string            `json:"problem,omitempty"` // why its files are not ready
	Stalled     bool              `json:"stalled,omitempty"` // they are here, and something is in the way, which Problem says
	Digest      Digest            `json:"digest,omitzero"`   // over its files; zero while it has none
	Bytes       int64             `json:"bytes"`
	Count       int               `json:"file_count"`
	Files       []File            `json:"files,omitempty"` // lists of versions leave them out
	Scan        *Scan             `json:"scan,omitempty"`
	Signature   *Signature        `json:"signature,omitempty"`
	House       *House            `json:"house,omitempty"` // that this installation signed it
	Datasets    []Seal            `json:"datasets,omitempty"`
	Run         string            `json:"run,omitempty"`    // the training run that it came of
	Source      string            `json:"source,omitempty"` // where whoever added it says that it lies
	Evaluations []Evidence        `json:"evaluations,omitempty"`
	Attacks     []Evidence        `json:"attacks,omitempty"`
	BOM         Digest            `json:"bom,omitzero"` // of its bill of materials, as it was published
	Aliases     []string          `json:"aliases,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Description string            `json:"description,omitempty"`
	Creator     pavise.Name       `json:"creator"`
	Created     time.Time         `json:"created"`
	Hands       []pavise.Name     `json:"hands"` // the people who added it, put its files or proposed it: none of them reviews or approves it
	Proposer    pavise.Name       `json:"proposer,omitzero"`
	Reviewers   []pavise.Name     `json:"reviewers,omitempty"` // the people
	Approvers   []pavise.Name     `json:"approvers,omitempty"` // the people
	Change      pavise.Name       `json:"change,omitzero"`     // in which it was published

	bundle []byte // the signature; nil: there is none, or it was not read
	house  []byte // the house's, likewise
}

// Name is what policies and the log call the version.
func (v *Version) Name() pavise.Name { return v.Ref.Name(v.Tenant) }

// Bundle is the signature of its files: by somebody who is believed, or else by this installation;
// nil where it was read without.
func (v *Version) Bundle() []byte {
	if len(v.bundle) > 0 {
		return v.bundle
	}
	return v.house
}

// Barred reports whether nobody gets the version's files: it is in quarantine, or was retired
// out of it, which says nothing good of them.
func (v *Version) Barred() bool {
	return v.State == Quarantined || v.State == Retired && v.Was != ""
}

// barredSince is when it was put in quarantine, of one that is barred.
func (v *Version) barredSince() time.Time {
	if v.Withdrawn.IsZero() {
		return v.Since
	}
	return v.Withdrawn
}

// newest returns the last of some evidence that is of the version's digest, or nil.
func (v *Version) newest(of []Evidence) *Evidence {
	for i := range slices.Backward(of) {
		if of[i].Digest == v.Digest {
			return &of[i]
		}
	}
	return nil
}

// counting is the result of some evidence that counts for the version, or nil.
func (v *Version) counting(of []Evidence) *Evidence {
	last := v.newest(of)
	if last == nil || last.Result != Pass {
		return last
	}
	for i := range slices.Backward(of) {
		if of[i].Digest == v.Digest && !slices.Contains(v.Hands, of[i].Root) { // the last word of somebody else
			if of[i].Result != Pass {
				return &of[i]
			}
			break
		}
	}
	return last
}

// Hand notes that somebody had a hand in the version.
func (v *Version) Hand(who pavise.Principal) {
	if !slices.Contains(v.Hands, who.Root()) {
		v.Hands = append(v.Hands, who.Root())
	}
}

// A Step is something that became of a version, or of an alias.
type Step struct {
	At      time.Time   `json:"at"`
	Version int         `json:"version"`        // 0: the alias was taken away
	From    State       `json:"from,omitempty"` // empty: it was added, or it is a step of an alias
	To      State       `json:"to,omitempty"`
	Alias   string      `json:"alias,omitempty"` // which was given to the version
	Digest  Digest      `json:"digest,omitzero"` // of the version then
	By      pavise.Name `json:"by,omitzero"`     // empty: a deployment of the house
	Change  pavise.Name `json:"change,omitzero"` // as which it was done
	Why     string      `json:"why,omitempty"`
	Record  uint64      `json:"record,omitempty"` // of the log, that begins it; 0: the note of its kind says so
}
