package audit

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
)

// A ProofReport is what verifying a proof file showed.
type ProofReport struct {
	Origin     string        `json:"origin"`
	Index      uint64        `json:"index"` // of the record in the log
	Size       uint64        `json:"size"`  // records under the checkpoint
	Root       string        `json:"root"`
	Keys       []KeyReport   `json:"keys"`                 // of the log, that signed the checkpoint
	Known      bool          `json:"known"`                // one of them was known to the verifier
	Since      uint64        `json:"since"`                // size of the checkpoint known from earlier, if any: that of the file
	VouchedBy  string        `json:"vouched_by,omitempty"` // the other log whose word that checkpoint is
	Witnessed  *Witnessed    `json:"witnessed,omitempty"`
	Record     record.Record `json:"record"`
	Conclusion string        `json:"conclusion"`
}

// The conclusions of a ProofReport. Anything worse is an error.
const (
	// Proved: the log's key was known, or the checkpoint.
	Proved = "verified: this record is in the log"
	// ProvedWitnessed: and a quorum of witnesses has seen it there.
	ProvedWitnessed = "verified: this record is in the log, and independent witnesses have seen it there"
	// ProvedUnknown: the file agrees with itself, and that is all.
	ProvedUnknown = "consistent; whose log this is was not verified"
)

// VerifyProof checks a proof file offline: that the record it holds is in the log
// whose key is known, or under the very checkpoint that is known from earlier. The
// error is of kind Invalid when it is no such file, and of kind Unverified when a
// proof fails or the file is damaged.
func VerifyProof(text []byte, opts Options) (ProofReport, error) {
	var report ProofReport
	f, err := proof.ParseFile(text)
	if err != nil {
		return report, err
	}
	held, err := proof.ParseRecord(f.Extra)
	if err != nil {
		return report, err
	}
	signers, cp, err := signersOf(f.Checkpoint, held.Keys)
	if err != nil {
		return report, err
	}
	if report.Known, err = knownKey(opts, signers); err != nil {
		return report, err
	}
	if err := f.Prove(proof.Leaf(held.Entry), cp); err != nil {
		return report, err
	}
	if report.Record, err = record.Decode(held.Entry); err != nil {
		return report, err
	}
	report.Origin, report.Index, report.Size, report.Root = cp.Origin, f.Index, cp.Size, cp.Root.String()
	for _, k := range signers {
		report.Keys = append(report.Keys, keyReport(k))
	}
	if opts.Policy != nil && opts.Policy.Asks() {
		if _, report.Witnessed, err = witnessed(f.Checkpoint, opts.Policy, signers); err != nil {
			return report, err
		}
	}
	if len(opts.Checkpoint) > 0 {
		if err := compareKept(opts, cp); err != nil {
			return report, err
		}
		report.Since, report.VouchedBy = cp.Size, opts.VouchedBy
	}
	report.conclude()
	return report, nil
}

// compareKept holds the checkpoint of a proof file against one that the verifier
// keeps and trusts, signed or not. Nothing but the same tree will do: that one tree
// continues another is for the log to prove, and a file alone cannot.
func compareKept(opts Options, cp proof.Checkpoint) error {
	kept, err := proof.Parse(opts.Checkpoint)
	if err != nil {
		kept, err = proof.Parse(append(slices.Clone(opts.Checkpoint), '\n')) // it has no signatures
	}
	if err != nil {
		return fmt.Errorf("the checkpoint kept from earlier: %w", err)
	}
	e := &pavise.Error{Kind: pavise.Unverified}
	switch {
	case kept.Origin != cp.Origin:
		e.Msg = fmt.Sprintf("the checkpoint that %s is of the log %.100q, and the proof file is from %.100q", opts.keeper(), kept.Origin, cp.Origin)
		e.Hint = "look for the checkpoint that you keep of that log"
	case kept.Size != cp.Size:
		e.Msg = fmt.Sprintf("the checkpoint that %s covers %d records and that of the proof file %d: offline, without a consistency proof, nobody can say whether one continues the other", opts.keeper(), kept.Size, cp.Size)
		e.Hint = "give --key or --policy instead, or verify a copy of the log's directory with --checkpoint: that compares them"
		if opts.VouchedBy != "" {
			e.Hint = proveSize(opts, cp) + ", if it has cosigned that one"
		}
	case kept.Root != cp.Root:
		e.Msg = fmt.Sprintf("split view: the checkpoint that %s and that of the proof file both cover %d records and have different roots", opts.keeper(), cp.Size)
		e.Hint = "somebody shows different histories of one log to different people: keep both, they prove it"
	default:
		return nil
	}
	return e
}

// proveSize says how the log that vouches writes a proof about the very checkpoint.
func proveSize(opts Options, cp proof.Checkpoint) string {
	return fmt.Sprintf("have the log %s vouch for this one: pavise witness prove %s --size %d", opts.VouchedBy, cp.Origin, cp.Size)
}

func (r *ProofReport) conclude() {
	switch {
	case !r.Known && r.Since == 0:
		r.Conclusion = ProvedUnknown
	case r.Witnessed != nil:
		r.Conclusion = ProvedWitnessed
	default:
		r.Conclusion = Proved
	}
}

// signersOf returns which of the keys that a proof file holds are the log's and
// signed its checkpoint. Each that says it is must have.
func signersOf(note []byte, texts []string) ([]*proof.Key, proof.Checkpoint, error) {
	claimed, err := proof.Parse(note)
	if err != nil {
		return nil, claimed, damagedFile("it holds no whole checkpoint", err)
	}
	var keys []*proof.Key
	for _, text := range texts[:min(len(texts), 8)] {
		key, err := proof.ParseKey(text)
		if err != nil {
			return nil, claimed, damagedFile("its list of the log's keys cannot be read", err)
		}
		if key.Name() == claimed.Origin && key.Algorithm() != proof.CosignatureEd25519 {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, claimed, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the proof file holds no key of the log %.100q that its checkpoint names", claimed.Origin), Hint: "the file was put together from others: ask for a new one"}
	}
	cp, sigs, err := proof.Open(note, keys...)
	if errors.Is(err, proof.ErrNoNote) {
		return nil, cp, damagedFile("the signatures of its checkpoint are cut off, or something stands behind them", err)
	}
	if err != nil {
		return nil, cp, err
	}
	for _, key := range keys {
		if !slices.ContainsFunc(sigs, func(s proof.Signature) bool { return s.Key == key }) {
			return nil, cp, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the checkpoint is not signed with the log's %s key", key.Algorithm()), Hint: "the file was changed: ask for a new one"}
		}
	}
	return keys, cp, nil
}

// damagedFile is the error of a proof file that was one when it was written.
func damagedFile(why string, err error) error {
	return &pavise.Error{Kind: pavise.Unverified, Msg: "the proof file is damaged: " + why, Hint: "compare it with where it came from, or ask for a new one", Err: err}
}

func keyReport(k *proof.Key) KeyReport {
	return KeyReport{k.String(), k.Algorithm().String(), k.Fingerprint()}
}
