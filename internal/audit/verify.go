package audit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
)

// Options say what the verifier knows from elsewhere. What the directory
// says of itself is never trusted.
type Options struct {
	Key        string        // a key of the log, or its fingerprint; empty: not known
	Checkpoint []byte        // a signed checkpoint kept from earlier; empty: none
	VouchedBy  string        // the other log that has cosigned that checkpoint; empty: the verifier keeps it
	Policy     *proof.Policy // logs and witnesses to believe; nil: none
	Progress   func(uint64)  // called now and then with the records read so far; may be nil

	Rate int64           // bytes a second at most, on one core; 0: as fast as can be
	Stop <-chan struct{} // closed to give up; nil: never
}

// keeper says whose word the known checkpoint is.
func (o *Options) keeper() string {
	if o.VouchedBy == "" {
		return "you keep"
	}
	return "the log " + o.VouchedBy + " has cosigned"
}

// A Report is what verifying a log showed.
type Report struct {
	Origin     string      `json:"origin"`
	First      uint64      `json:"first_record,omitempty"` // those before it were pruned
	Records    uint64      `json:"records"`                // records of the tree that was read
	Signed     uint64      `json:"signed"`                 // records under the checkpoint
	Trailing   int64       `json:"trailing,omitempty"`     // bytes behind the last record that are none
	Root       string      `json:"root"`                   // base64 root of the signed records
	Key        string      `json:"key"`                    // the log's identity: the first verifier key in the directory
	Keys       []KeyReport `json:"keys"`                   // all of them; each signed the checkpoint
	Known      bool        `json:"known"`                  // the key was known to the verifier
	Since      uint64      `json:"since"`                  // size of the checkpoint known from earlier, if any
	VouchedBy  string      `json:"vouched_by,omitempty"`   // the other log whose word that checkpoint is
	Witnessed  *Witnessed  `json:"witnessed,omitempty"`    // what a quorum of witnesses has seen, by the policy given
	From       time.Time   `json:"first,omitzero"`         // time of the first and the last signed record
	To         time.Time   `json:"last,omitzero"`
	Open       []uint64    `json:"open,omitempty"` // signed control acts entered and not ended
	Conclusion string      `json:"conclusion"`
}

// A KeyReport is a key that signed.
type KeyReport struct {
	Key         string `json:"key"` // verifier key
	Algorithm   string `json:"algorithm"`
	Fingerprint string `json:"fingerprint"`
}

// Witnessed says what a quorum of independent witnesses has seen.
type Witnessed struct {
	Records uint64    `json:"records"` // under the checkpoint they cosigned
	At      time.Time `json:"at"`      // by then they had, say the times in their cosignatures
	By      []string  `json:"by"`      // whose cosignatures were checked
}

// The conclusions of a Report. Anything worse is an error.
const (
	// Verified: the key, an earlier checkpoint or a policy was known, and the
	// signed records are all there is.
	Verified = "verified: no record was changed, removed or reordered"
	// Partly: the same of the signed records, and others lie behind them, as
	// while the log is being written, which prove nothing.
	Partly = "verified up to the checkpoint: no signed record was changed, removed or reordered"
	// Consistent: the directory agrees with itself, and that is all.
	Consistent = "consistent; authorship and completeness unverified"
)

// Verify reads a log directory offline and proves that its records are those
// that its checkpoint signs, in that order, with none missing. It needs no
// server and no secret. The error is of kind Unverified when a proof fails, and
// says which record or file is at fault.
func Verify(dir string, opts Options) (Report, error) {
	return VerifyOn(disk.Dir{Path: dir, ReadOnly: true}, opts)
}

// VerifyOn is Verify on any directory.
func VerifyOn(d disk.Directory, opts Options) (Report, error) {
	v := &verification{disk: d, opts: opts, open: map[uint64]bool{}}
	defer v.close()
	for _, step := range []func() error{v.readOrigin, v.readWitnessed, v.readCheckpoint, v.readEntries, v.compareHead, v.compareKnown, v.compareFiles} {
		if err := step(); err != nil {
			return v.report, err
		}
	}
	v.conclude()
	return v.report, nil
}

// A verification is one run of Verify. One goroutine owns it; the hashing is done
// by others (see walk.go).
type verification struct {
	disk   disk.Directory
	opts   Options
	report Report
	keys   []*proof.Key
	signed proof.Checkpoint
	known  proof.Checkpoint     // kept from earlier
	seen   proof.Checkpoint     // by witnesses
	roots  map[uint64]tlog.Hash // of the trees of these sizes: those above, noted on the way
	tree   proof.Range
	open   map[uint64]bool
	pruned uint64 // records below this index may be missing, says a record

	files   []disk.File // the hash files; nil where there is none
	differs *difference // where they first disagree with the records; nil: nowhere
}

func (v *verification) close() {
	for _, f := range v.files {
		if f != nil {
			f.Close()
		}
	}
}

// readOrigin reads the directory's keys, and compares them with what the verifier
// knows.
func (v *verification) readOrigin() error {
	origin, err := disk.Read(v.disk, "origin", proof.MaxNote)
	if err != nil {
		return noLog(err)
	}
	return v.readKeys(string(origin))
}

// readCheckpoint opens the directory's checkpoint with the directory's keys. That
// which witnesses have seen is read before it: of a log that is being written, the
// one that is read later may be newer.
func (v *verification) readCheckpoint() error {
	signed, err := disk.Read(v.disk, "checkpoint", proof.MaxNote)
	if errors.Is(err, os.ErrNotExist) {
		return &pavise.Error{
			Kind: pavise.Unverified,
			Msg:  "the log has no checkpoint: somebody removed it, or the copy is not whole",
			Hint: "copy the whole directory; a log that lost its checkpoint proves nothing",
			Err:  err,
		}
	}
	if err != nil {
		return noLog(err)
	}
	for _, key := range v.keys { // each must have signed
		if v.signed, err = proof.OpenSigned(signed, key); err != nil {
			return err
		}
	}
	if len(v.opts.Checkpoint) > 0 {
		if v.known, err = proof.OpenSigned(v.opts.Checkpoint, v.keys[0]); err != nil {
			return fmt.Errorf("the checkpoint kept from earlier: %w", err)
		}
	}
	v.report.Origin, v.report.Signed, v.report.Since = v.signed.Origin, v.signed.Size, v.known.Size
	v.report.Root = v.signed.Root.String()
	if v.known.Size > 0 {
		v.report.VouchedBy = v.opts.VouchedBy
	}
	v.roots = map[uint64]tlog.Hash{v.signed.Size: {}, v.known.Size: {}, v.seen.Size: {}}
	return nil
}

// readKeys reads the lines of the file origin.
func (v *verification) readKeys(text string) error {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for _, line := range lines[:min(len(lines), 8)] {
		key, err := proof.ParseKey(line)
		if err == nil && len(v.keys) > 0 && key.Name() != v.keys[0].Name() {
			err = fmt.Errorf("keys of two logs, %s and %s", v.keys[0].Name(), key.Name())
		}
		if err != nil {
			return &pavise.Error{
				Kind: pavise.Unverified, Msg: "the file origin does not hold a log's keys: " + err.Error(),
				Hint: "somebody made this directory to deceive, or damaged it: compare with a backup", Err: err,
			}
		}
		v.keys = append(v.keys, key)
		v.report.Keys = append(v.report.Keys, keyReport(key))
	}
	v.report.Key = v.keys[0].String()
	var err error
	v.report.Known, err = knownKey(v.opts, v.keys)
	return err
}

// knownKey reports whether one of a log's keys is known to the verifier.
func knownKey(opts Options, found []*proof.Key) (bool, error) {
	for _, key := range found {
		if key.Is(opts.Key) {
			return true, nil
		}
	}
	if opts.Key == "" {
		return policyKnows(opts.Policy, found)
	}
	if _, err := hex.DecodeString(opts.Key); !strings.Contains(opts.Key, "+") && (err != nil || len(opts.Key) != 64) {
		return false, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.100q is neither a fingerprint (64 hex digits) nor a verifier key (origin+hash+base64)", opts.Key)}
	}
	return false, &pavise.Error{
		Kind: pavise.Unverified,
		Msg:  fmt.Sprintf("the log is signed by the key %s (fingerprint %s), not by the one you know", found[0], found[0].Fingerprint()),
		Hint: "this is another log, or somebody made the log anew",
	}
}

// policyKnows reports whether a policy lists one of a log's keys. One that lists
// other logs only does not believe this one.
func policyKnows(policy *proof.Policy, found []*proof.Key) (bool, error) {
	if policy == nil || len(policy.Logs) == 0 {
		return false, nil
	}
	for _, l := range policy.Logs {
		if slices.ContainsFunc(found, func(k *proof.Key) bool { return k.String() == l.Key.String() }) {
			return true, nil
		}
	}
	return false, &pavise.Error{
		Kind: pavise.Unverified,
		Msg:  fmt.Sprintf("the policy does not list this log: %s", found[0]),
		Hint: "this is another log, or somebody made the log anew",
	}
}

// readWitnessed reads the checkpoint that witnesses cosigned, if the verifier has
// a policy that says whom to believe.
func (v *verification) readWitnessed() error {
	if v.opts.Policy == nil || !v.opts.Policy.Asks() {
		return nil
	}
	text, err := disk.Read(v.disk, "witnessed", proof.MaxNote)
	if err != nil {
		return &pavise.Error{Kind: pavise.Unverified, Msg: "no checkpoint of this log bears cosignatures, and the policy asks for a quorum", Hint: "verify without --policy, or copy the whole directory", Err: err}
	}
	cp, found, err := witnessed(text, v.opts.Policy, v.keys)
	if err != nil {
		return err
	}
	v.seen, v.report.Witnessed = cp, found
	return nil
}

// witnessed checks that a checkpoint bears a log's own signature and those of a
// quorum of independent witnesses.
func witnessed(note []byte, policy *proof.Policy, log []*proof.Key) (proof.Checkpoint, *Witnessed, error) {
	cp, sigs, err := proof.Open(note, append(slices.Clone(log), policy.Keys()...)...)
	if err != nil {
		return cp, nil, err
	}
	if !slices.ContainsFunc(sigs, func(s proof.Signature) bool { return s.Key == log[0] }) || cp.Origin != log[0].Name() {
		return cp, nil, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the cosigned checkpoint is not signed by log %s", log[0].Name())}
	}
	sigs = slices.DeleteFunc(sigs, func(s proof.Signature) bool { return !vouches(policy, log, s) })
	at, ok := policy.Satisfied(log, sigs)
	if !ok {
		return cp, nil, &pavise.Error{
			Kind: pavise.Unverified, Msg: fmt.Sprintf("the cosignatures on the checkpoint of %d records are no quorum of independent witnesses by your policy", cp.Size),
			Hint: "a witness in the log's own trust domain does not count",
		}
	}
	found := &Witnessed{Records: cp.Size, At: at}
	for _, s := range sigs {
		found.By = append(found.By, s.Key.Name())
	}
	return cp, found, nil
}

// vouches reports whether a signature is that of a witness of the policy, at a time,
// and of none that shares a key with the log: any that it shows, and any that the policy
// lists.
func vouches(policy *proof.Policy, log []*proof.Key, s proof.Signature) bool {
	return !s.At.IsZero() &&
		slices.ContainsFunc(policy.Witnesses, func(w proof.Witness) bool { return w.Key.String() == s.Key.String() }) &&
		policy.Counts(log, s.Key)
}

// note follows what a signed record says of others: which control acts have
// ended, and which records were pruned.
func (v *verification) note(index uint64, entry []byte) error {
	g, err := record.Glance(entry)
	if err != nil {
		return err
	}
	switch {
	case g.Phase == record.Enter:
		v.open[index] = true
	case g.Enter != nil:
		delete(v.open, *g.Enter)
	case g.Kind == record.KindPruned && g.Phase == record.Note:
		r, err := record.Decode(entry)
		if err != nil {
			return err
		}
		v.pruned = max(v.pruned, r.Pruned())
	}
	return nil
}

// A difference is where a hash file first disagrees with the entries.
type difference struct {
	file   string
	record uint64
}

// compareHead holds the rebuilt tree against the signed head. When they differ,
// the hash files say which record was changed, if they are still the signed ones.
func (v *verification) compareHead() error {
	size := v.tree.Size()
	if size < v.signed.Size {
		return v.fault(size, "the checkpoint signs %d records and only %d are there: the end was removed", v.signed.Size, size)
	}
	if v.signed.Size > 0 && v.roots[v.signed.Size] != v.signed.Root {
		if v.differs == nil || v.leafFileRoot() != v.signed.Root {
			return v.fault(0, "the records are not those that the checkpoint signs, and neither are the hash files, so which record differs cannot be said")
		}
		return v.fault(v.differs.record, "record %d was changed", v.differs.record)
	}
	if v.report.First > v.pruned {
		return v.fault(v.pruned, "records %d to %d are missing, and no record says that they were pruned", v.pruned, v.report.First-1)
	}
	return nil
}

// leafFileRoot is the root of the tree over the leaf hashes in their file.
func (v *verification) leafFileRoot() tlog.Hash {
	var t proof.Range
	if len(v.files) == 0 || v.files[0] == nil {
		return tlog.Hash{}
	}
	err := disk.Hashes(v.files[0], v.signed.Size, func(leaf tlog.Hash) { t.Add(0, leaf, nil) })
	if err != nil {
		return tlog.Hash{}
	}
	return t.Root()
}

// errDerived is the cause when only derived files are wrong.
var errDerived = errors.New("a derived file is wrong")

// compareFiles reports hash files that disagree with records that are right.
func (v *verification) compareFiles() error {
	if v.differs == nil {
		return nil
	}
	return &pavise.Error{
		Kind: pavise.Unverified,
		Msg:  fmt.Sprintf("all records are those that the checkpoint signs, but the derived file %s is wrong at record %d", v.differs.file, v.differs.record),
		Hint: "pavise ledger doctor --repair makes it anew from the records",
		Err:  errDerived,
	}
}

// compareKnown holds the log against what others keep of it.
func (v *verification) compareKnown() error {
	for _, kept := range []struct {
		who string
		proof.Checkpoint
	}{{v.opts.keeper(), v.known}, {"witnesses have seen", v.seen}} {
		switch {
		case kept.Size == 0:
		case kept.Size > v.signed.Size:
			return v.rolledBack(kept.who, kept.Size)
		case v.roots[kept.Size] != kept.Root:
			return v.fault(0, "the first %d records are not those of the checkpoint %s: history was rewritten", kept.Size, kept.who)
		}
	}
	return nil
}

// rolledBack is the error of a log that is shorter than somebody has seen it.
func (v *verification) rolledBack(who string, size uint64) error {
	err := v.fault(v.signed.Size, "%s a checkpoint of %d records and the log now signs %d: it was rolled back", who, size, v.signed.Size)
	if e, ok := errors.AsType[*pavise.Error](err); ok && v.opts.VouchedBy != "" {
		e.Hint = "if this is an older copy, " + proveSize(v.opts, v.signed) + ", if it has cosigned that one"
	}
	return err
}

// conclude says in words what was proved. Without a key or checkpoint known from
// elsewhere, whoever can write the directory could have made all of it.
func (v *verification) conclude() {
	v.report.Open = slices.Sorted(maps.Keys(v.open))
	known := v.report.Known || v.known.Size > 0
	switch {
	case known && v.report.Records == v.report.Signed && v.report.Trailing == 0:
		v.report.Conclusion = Verified
	case known && v.report.Signed > 0:
		v.report.Conclusion = Partly
	default:
		v.report.Conclusion = Consistent
	}
}

func (v *verification) fault(index uint64, format string, args ...any) error {
	v.report.Records = v.tree.Size()
	err := fmt.Errorf(format, args...)
	return &pavise.Error{
		Kind: pavise.Unverified,
		Msg:  fmt.Sprintf("the log does not verify at record %d: %v", index, err),
		Hint: "compare with a backup or with another holder of the log's checkpoints",
	}
}

func noLog(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return &pavise.Error{Kind: pavise.NotFound, Msg: "this directory holds no evidence log: it has no file \"origin\"", Hint: "name the ledger directory itself, for example pavise-data/ledger", Err: err}
	}
	return disk.Fault("read the evidence log", err)
}
