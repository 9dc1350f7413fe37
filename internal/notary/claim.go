package notary

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/oms"
)

// A Claim is what the house vouches for of a version.
type Claim struct {
	Version  pavise.Name // tenant/model/NAME@N
	Digest   string      // over its files: paths, sizes and digests (docs/formats/model.md)
	Risk     string
	Found    string      // what a look at its files found
	Said     pavise.Name // whose word the digests and the look are; empty: the house hashed and looked itself
	Producer string      // the digest of a signature by somebody who is believed; empty: there is none
	Change   string      // by which it was published; empty: it was not
	Files    []oms.File  // by path, hashed whole with SHA-256
}

// File is one file of a claim.
func File(path string, sha256 []byte) oms.File {
	return oms.File{Path: path, Parts: []oms.Part{{Digest: slices.Clone(sha256)}}}
}

// Says is the claim but for its files, in words: the name under which the files are signed, for
// people and for Check. No claim has the words of another.
func (c Claim) Says() string {
	var b strings.Builder
	b.WriteString("Pavise: " + word(c.Version.String()) + " " + word(c.Digest) + " of " + word(c.Risk) + " risk, ")
	if c.Said == (pavise.Name{}) {
		b.WriteString("hashed and scanned here: " + word(c.Found))
	} else {
		b.WriteString("not hashed and not scanned here, in the words of " + word(c.Said.String()) + ": " + word(c.Found))
	}
	if c.Producer != "" {
		b.WriteString(", with the signature " + word(c.Producer) + " of a producer")
	}
	if c.Change != "" {
		b.WriteString(", published by " + word(c.Change))
	}
	return b.String() + "; who trained it is not vouched for"
}

// word is a text that passes for no other words: whoever changed a database may have written it.
func word(text string) string {
	if text == "" || strings.ContainsAny(text, " \t\n\",;") {
		return strconv.Quote(text)
	}
	return text
}
