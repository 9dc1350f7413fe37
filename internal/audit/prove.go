package audit

import (
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
	Keys       []KeyReport   `json:"keys"`  // of the log, that signed the checkpoint
	Known      bool          `json:"known"` // one of them was known to the verifier
	Witnessed  *Witnessed    `json:"witnessed,omitempty"`
	Record     record.Record `json:"record"`
	Conclusion string        `json:"conclusion"`
}

// The conclusions of a ProofReport. Anything worse is an error.
const (
	// Proved: the log's key was known.
	Proved = "verified: this record is in the log"
	// ProvedWitnessed: and a quorum of witnesses has seen it there.
	ProvedWitnessed = "verified: this record is in the log, and independent witnesses have seen it there"
	// ProvedUnknown: the file agrees with itself, and that is all.
	ProvedUnknown = "consistent; whose log this is was not verified"
)

// VerifyProof checks a proof file offline: that the record it holds is in the log
// whose key is known. The error is of kind Invalid when it is no such file, and
// of kind Unverified when a proof fails.
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
		return report, &pavise.Error{Kind: pavise.Invalid, Msg: "a checkpoint kept from earlier says nothing of one record", Hint: "give --key or --policy"}
	}
	report.conclude()
	return report, nil
}

func (r *ProofReport) conclude() {
	switch {
	case !r.Known:
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
		return nil, claimed, err
	}
	var keys []*proof.Key
	for _, text := range texts[:min(len(texts), 8)] {
		key, err := proof.ParseKey(text)
		if err != nil {
			return nil, claimed, err
		}
		if key.Name() == claimed.Origin && key.Algorithm() != proof.CosignatureEd25519 {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, claimed, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the proof file holds no key of the log %.100q that its checkpoint names", claimed.Origin), Hint: "the file was put together from others: ask for a new one"}
	}
	cp, sigs, err := proof.Open(note, keys...)
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

func keyReport(k *proof.Key) KeyReport {
	return KeyReport{k.String(), k.Algorithm().String(), k.Fingerprint()}
}
