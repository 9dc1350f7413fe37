package artefact

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/pavise/pavise/internal/figure"
)

// A Severity says how bad a finding is.
type Severity string

// The severities, which are verdicts, too; a Note changes no verdict.
const (
	Clean      Severity = "clean"
	Note       Severity = "note"
	Unreadable Severity = "unreadable" // could not be looked at to its end
	Suspicious Severity = "suspicious" // does what models need not, or what nobody has vetted
	Malicious  Severity = "malicious"  // runs code, or reaches for files, on the machine that loads it
)

// rank orders verdicts: what was found weighs more than what could not be looked at.
func (s Severity) rank() int {
	return slices.Index([]Severity{Clean, Note, Unreadable, Suspicious, Malicious}, s)
}

// maxFindings bounds what is told of one file, of each severity.
const maxFindings = 64

// A Finding is one thing that a person should know of a file.
type Finding struct {
	Severity Severity `json:"severity"`
	Rule     string   `json:"rule"`             // what kind of finding, such as "pickle.call"
	File     string   `json:"file"`             // below the path that was named
	Member   string   `json:"member,omitempty"` // inside of the file: of archives within archives with "!" between
	Offset   int64    `json:"offset"`           // bytes from the beginning of the member, or of the file
	Opcode   string   `json:"opcode,omitempty"` // of a pickle
	Why      string   `json:"why"`
	Next     string   `json:"next"`
}

// A Report is what came of a scan.
type Report struct {
	Path     string    `json:"path"`
	Verdict  Severity  `json:"verdict"` // of the worst finding: clean, unreadable, suspicious or malicious
	Files    int       `json:"files"`
	Parts    int       `json:"parts"` // files, and what is in archives
	Bytes    int64     `json:"bytes"` // looked at, unpacked
	Findings []Finding `json:"findings"`
	Untold   int       `json:"untold,omitempty"` // findings beyond those listed
}

// Found reports whether there is something to look at.
func (r *Report) Found() bool { return r.Verdict == Malicious || r.Verdict == Suspicious }

// Blind reports whether nothing was found, and not everything could be looked at.
func (r *Report) Blind() bool { return r.Verdict == Unreadable }

// Print implements what commands print.
func (r *Report) Print(w io.Writer) {
	fmt.Fprintf(w, "%s: %s\n", figure.OneLine(r.Path, 200), r.Verdict)
	for _, f := range r.Findings {
		where := f.File
		if f.Member != "" {
			where += "!" + f.Member
		}
		fmt.Fprintf(w, "\n  %-10s  %s, byte %d", f.Severity, figure.OneLine(where, 200), f.Offset)
		if f.Opcode != "" {
			fmt.Fprintf(w, ", %s", f.Opcode)
		}
		fmt.Fprintf(w, "\n              %s\n              next: %s\n", figure.OneLine(f.Why, 400), f.Next)
	}
	if r.Untold > 0 {
		fmt.Fprintf(w, "\n  and %d findings more\n", r.Untold)
	}
	fmt.Fprintf(w, "\n%s files with %s parts, %s looked at; nothing was run; recorded: false\n",
		figure.Thousands(uint64(r.Files)), figure.Thousands(uint64(r.Parts)), figure.Bytes(r.Bytes))
}

// raise makes the verdict as bad as a finding.
func (r *Report) raise(s Severity) {
	if s != Note && s.rank() > r.Verdict.rank() {
		r.Verdict = s
	}
}

// settle orders the findings, worst first.
func (r *Report) settle() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(b.Severity.rank(), a.Severity.rank()) })
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
}

// The words for what to do next.
const (
	nextNever   = "do not load it; ask whoever it is from, and look where else it lies"
	nextVet     = "read what it names before you load it; load it where nothing can be lost"
	nextAgain   = "get it again from where it was made, and hold it to its signature"
	nextConvert = "ask for the weights as safetensors or ONNX"
	nextUnpack  = "unpack it yourself and scan what comes out"
)
