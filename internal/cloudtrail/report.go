package cloudtrail

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The verdicts.
const (
	Verified   = "verified"   // every digest carries AWS's signature, and all is as they say
	Unverified = "unverified" // all is as the digests say, but who wrote some of them is not proved
	Broken     = "broken"     // something is not as it should be
)

// The kinds of findings.
const (
	MissingLog    = "missing log file"
	AlteredLog    = "altered log file"
	UnlistedLog   = "unlisted log file"
	MissingDigest = "missing digest"
	AlteredDigest = "altered digest"
	Unreadable    = "unreadable"
	Moved         = "moved"
	OtherBucket   = "other bucket"
	BadSignature  = "bad signature"
	UnknownKey    = "unknown key"
	Unsigned      = "unsigned"
	Gap           = "gap"
	Fork          = "fork"
	Contradiction = "contradiction"
	OtherTimes    = "events outside"
)

// A Finding is one thing that is not as it should be.
type Finding struct {
	Kind string `json:"kind"`
	File string `json:"file"` // in the directory, or the object's name where there is no file
	What string `json:"what"` // in words
}

// maxFindings bounds what is listed; all are counted.
const maxFindings = 10_000

// A Chain is the digests of one trail in one account and region.
type Chain struct {
	Account    string    `json:"account"`
	Region     string    `json:"region"`
	Series     string    `json:"series"` // what the names of its digests begin with
	From       time.Time `json:"from"`   // what it vouches for
	To         time.Time `json:"to"`
	Begins     string    `json:"begins"`   // in words: where the chain starts
	Ends       string    `json:"ends"`     // in words: how the newest digest is proved, or not
	Digests    int       `json:"digests"`  // that are there
	Verified   int       `json:"verified"` // with a good signature
	Logs       int       `json:"log_files"`
	LogsProved int       `json:"log_files_verified"` // as verified digests have them
}

// A Report is what was seen of a directory.
type Report struct {
	Verdict     string    `json:"verdict"`
	Words       string    `json:"words"`
	Chains      []Chain   `json:"chains"`
	Digests     int       `json:"digests"`
	Verified    int       `json:"digests_verified"`
	Logs        int       `json:"log_files"`          // that digests list
	LogsProved  int       `json:"log_files_verified"` // as verified digests have them
	Pending     []string  `json:"pending"`            // log files that no digest here can list yet: newer, or older
	PendingAll  int       `json:"pending_all"`        // more than are listed, where there are very many
	Findings    []Finding `json:"findings"`
	FindingsAll int       `json:"findings_all"` // more than are listed, where there are very many
}

// find adds a finding.
func (r *Report) find(kind, file, format string, args ...any) {
	if r.FindingsAll++; len(r.Findings) < maxFindings {
		r.Findings = append(r.Findings, Finding{kind, file, fmt.Sprintf(format, args...)})
	}
}

// conclude draws the verdict.
func (r *Report) conclude(keys int) {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return strings.Compare(a.File, b.File) })
	switch {
	case r.FindingsAll > 0:
		r.Verdict = Broken
		r.Words = fmt.Sprintf("%d things are not as they should be", r.FindingsAll)
	case r.Verified == r.Digests:
		r.Verdict = Verified
		r.Words = "every digest carries a good signature, and every log file is as they say"
	case keys == 0:
		r.Verdict = Unverified
		r.Words = "all is as the digests say; who wrote them is not proved, for no public keys were given"
	default:
		r.Verdict = Unverified
		r.Words = fmt.Sprintf("all is as the digests say; who wrote %d of %d digests is not proved, for their signatures are not here", r.Digests-r.Verified, r.Digests)
	}
}
