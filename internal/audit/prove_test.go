package audit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/proof"
)

// proofFile returns the file that proves a record of a log of 300, whose checkpoint
// the witnesses have cosigned, if there are any; and that checkpoint.
func proofFile(t testing.TB, index uint64, signers []*proof.Signer, change ...func(*ledger.Options)) (file []byte, cp proof.Checkpoint) {
	t.Helper()
	opts := options(disktest.New())
	for _, f := range change {
		f(&opts)
	}
	l := openLog(t, opts)
	defer l.Close()
	grow(t, l, 0, 300)
	cp = l.Published()
	if signers != nil {
		cp = cosigned(t, cp, epoch, signers...)
		if err := l.KeepWitnessed(cp); err != nil {
			t.Fatal(err)
		}
	}
	file, err := l.ProofFile(index)
	if err != nil {
		t.Fatal(err)
	}
	return file, cp
}

// proofRefused fails unless a proof file does not verify, for the reason given.
func proofRefused(t *testing.T, what string, file []byte, opts Options, kind pavise.Kind, why string) {
	t.Helper()
	report, err := VerifyProof(file, opts)
	if pavise.KindOf(err) != kind || !strings.Contains(err.Error(), why) || report.Conclusion != "" {
		t.Errorf("%s: %+v, %v, want %q", what, report, err, why)
	}
}

// TestProofFileProvesItsRecord to whoever knows the key, lists the log in a policy, or
// has a quorum of witnesses besides; and to others that it agrees with itself.
func TestProofFileProvesItsRecord(t *testing.T) {
	signers, policy := witnesses(t, 2)
	key := logKey(t, testKey)
	file, cp := proofFile(t, 123, signers)
	for what, tt := range map[string]struct {
		opts       Options
		conclusion string
		known      bool
	}{
		"nothing":                  {Options{}, ProvedUnknown, false},
		"the fingerprint":          {known(t), Proved, true},
		"the key":                  {Options{Key: key.String()}, Proved, true},
		"the log in a policy":      {Options{Policy: parsePolicy(t, "log "+key.String()+"\nquorum none\n")}, Proved, true},
		"a policy of nothing":      {Options{Policy: parsePolicy(t, "quorum none\n")}, ProvedUnknown, false},
		"witnesses and the log":    {Options{Policy: policy}, ProvedWitnessed, true},
		"witnesses alone":          {Options{Policy: parsePolicy(t, "witness w "+signers[0].Key().String()+"\nquorum w\n")}, ProvedUnknown, false},
		"witnesses alone, the key": {Options{Key: key.String(), Policy: parsePolicy(t, "witness w "+signers[0].Key().String()+"\nquorum w\n")}, ProvedWitnessed, true},
	} {
		report, err := VerifyProof(file, tt.opts)
		if err != nil || report.Conclusion != tt.conclusion || report.Known != tt.known || report.Since != 0 {
			t.Errorf("knowing %s: %+v, %v", what, report, err)
		}
		if report.Origin != testOrigin || report.Index != 123 || report.Size != cp.Size || report.Root != cp.Root.String() || report.Record.On.ID != "m123" || len(report.Keys) != 1 || report.Keys[0].Fingerprint != key.Fingerprint() {
			t.Errorf("knowing %s: %+v", what, report)
		}
		if asks := tt.opts.Policy != nil && tt.opts.Policy.Asks(); asks != (report.Witnessed != nil) || asks && (report.Witnessed.Records != 300 || !report.Witnessed.At.Equal(epoch)) {
			t.Errorf("knowing %s: witnessed %+v", what, report.Witnessed)
		}
	}
}

// TestEveryRecordCanBeProved: the first, the last and those at the edges of bundles.
func TestEveryRecordCanBeProved(t *testing.T) {
	l := openLog(t, options(disktest.New()))
	grow(t, l, 0, 600)
	for index := range uint64(600) {
		file, err := l.ProofFile(index)
		if err != nil {
			t.Fatal(err)
		}
		if report, err := VerifyProof(file, known(t)); err != nil || report.Index != index || report.Record.On.ID != fmt.Sprint("m", index) || report.Conclusion != Proved {
			t.Fatalf("record %d: %+v, %v", index, report, err)
		}
	}
}

// TestEveryBitOfAProofFileCounts flips each bit of a proof file that witnesses have
// cosigned: with the key and the policy known, none is passed over. Where they are not
// asked for, a flip in a witness's line does no harm, and the record is the same.
func TestEveryBitOfAProofFileCounts(t *testing.T) {
	signers, policy := witnesses(t, 1)
	file, _ := proofFile(t, 123, signers)
	witness := bytes.Index(file, []byte("— witness.example/0 "))
	step := 1
	if testing.Short() {
		step = 13
	}
	for bit := 0; bit < 8*len(file); bit += step {
		changed := []byte(flip(string(file), bit))
		if report, err := VerifyProof(changed, Options{Policy: policy}); err == nil || report.Conclusion != "" {
			t.Fatalf("byte %d (%q), bit %d: %+v", bit/8, file[bit/8], bit%8, report)
		}
		report, err := VerifyProof(changed, known(t))
		if err == nil && (bit/8 < witness || report.Record.On.ID != "m123" || report.Index != 123) {
			t.Fatalf("byte %d (%q), bit %d, without a policy: %+v", bit/8, file[bit/8], bit%8, report)
		}
	}
}

// TestBitsOfAProofFileOfTwoKeysCount is a sample of the same for a log that signs with
// an ML-DSA-44 key too.
func TestBitsOfAProofFileOfTwoKeysCount(t *testing.T) {
	file, _ := proofFile(t, 123, nil, withMLDSA)
	report, err := VerifyProof(file, known(t))
	if err != nil || len(report.Keys) != 2 {
		t.Fatalf("%+v, %v", report, err)
	}
	for seed := range uint64(1000) {
		bit := rand.New(rand.NewPCG(seed, 1)).IntN(8 * len(file))
		if report, err := VerifyProof([]byte(flip(string(file), bit)), known(t)); err == nil {
			t.Fatalf("seed %d: byte %d (%q), bit %d: %+v", seed, bit/8, file[bit/8], bit%8, report)
		}
	}
}

// TestProofFileCutAnywhere is none, up to the line end of its last signature.
func TestProofFileCutAnywhere(t *testing.T) {
	file, _ := proofFile(t, 123, nil)
	for n := range file {
		if report, err := VerifyProof(file[:n], known(t)); err == nil {
			t.Fatalf("cut to %d of %d bytes: %+v", n, len(file), report)
		}
	}
	proofRefused(t, "a byte more", append(slices.Clone(file), 'x'), known(t), pavise.Unverified, "")
}

// rewrite takes a proof file apart, changes its parts and writes it again.
func rewrite(t *testing.T, file []byte, change func(*proof.File, *proof.Record)) []byte {
	t.Helper()
	f, err := proof.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	held, err := proof.ParseRecord(f.Extra)
	if err != nil {
		t.Fatal(err)
	}
	change(&f, &held)
	if f.Extra != nil {
		f.Extra = held.Marshal()
	}
	return f.Marshal()
}

// TestProofFileThatWasPutTogether from parts of others, or by somebody who has other
// keys, is refused with what is wrong.
func TestProofFileThatWasPutTogether(t *testing.T) {
	file, _ := proofFile(t, 123, nil)
	otherFile, _ := proofFile(t, 124, nil)
	theirs, _ := proofFile(t, 123, nil, func(o *ledger.Options) { o.Key = otherKey })
	elsewhere, _ := proofFile(t, 123, nil, func(o *ledger.Options) { o.Origin = "example.test/other" })
	part := func(file []byte) (f proof.File, held proof.Record) {
		rewrite(t, file, func(of *proof.File, r *proof.Record) { f, held = *of, *r })
		return f, held
	}
	nextFile, next := part(otherFile)
	theirFile, their := part(theirs)
	otherLog, _ := part(elsewhere)
	pq, err := proof.NewMLDSACosigner(testOrigin, testSeed)
	if err != nil {
		t.Fatal(err)
	}
	cosigner, err := proof.NewCosigner(testOrigin, testKey)
	if err != nil {
		t.Fatal(err)
	}
	for what, tt := range map[string]struct {
		change func(*proof.File, *proof.Record)
		kind   pavise.Kind
		why    string
	}{
		"another record":                    {func(_ *proof.File, r *proof.Record) { r.Entry = next.Entry }, pavise.Unverified, "does not hold"},
		"another place":                     {func(f *proof.File, _ *proof.Record) { f.Index = 124 }, pavise.Unverified, "does not hold"},
		"another record's path":             {func(f *proof.File, _ *proof.Record) { f.Path = nextFile.Path }, pavise.Unverified, "does not hold"},
		"no path":                           {func(f *proof.File, _ *proof.Record) { f.Path = nil }, pavise.Unverified, "does not hold"},
		"a place beyond the tree":           {func(f *proof.File, _ *proof.Record) { f.Index = 300 }, pavise.Unverified, "does not hold"},
		"their checkpoint":                  {func(f *proof.File, _ *proof.Record) { f.Checkpoint = theirFile.Checkpoint }, pavise.Unverified, "is not signed by"},
		"their checkpoint and keys":         {func(f *proof.File, r *proof.Record) { f.Checkpoint, r.Keys = theirFile.Checkpoint, their.Keys }, pavise.Unverified, "not by the one you know"},
		"both keys":                         {func(_ *proof.File, r *proof.Record) { r.Keys = append(r.Keys, their.Keys...) }, pavise.Unverified, "is not signed with the log's Ed25519 key"},
		"another log's checkpoint":          {func(f *proof.File, _ *proof.Record) { f.Checkpoint = otherLog.Checkpoint }, pavise.Unverified, "holds no key of the log"},
		"a key that did not sign":           {func(_ *proof.File, r *proof.Record) { r.Keys = append(r.Keys, pq.Key().String()) }, pavise.Unverified, "is not signed with the log's ML-DSA-44 cosignature key"},
		"no key of the log's":               {func(_ *proof.File, r *proof.Record) { r.Keys = []string{cosigner.Key().String()} }, pavise.Unverified, "holds no key of the log"},
		"a key that is none":                {func(_ *proof.File, r *proof.Record) { r.Keys = append(r.Keys, "key") }, pavise.Unverified, "is damaged: its list of the log's keys"},
		"no extra data":                     {func(f *proof.File, _ *proof.Record) { f.Extra = nil }, pavise.Invalid, "does not hold the record"},
		"no checkpoint":                     {func(f *proof.File, _ *proof.Record) { f.Checkpoint = nil }, pavise.Unverified, "is damaged: it holds no whole checkpoint"},
		"a checkpoint cut in its signature": {func(f *proof.File, _ *proof.Record) { f.Checkpoint = f.Checkpoint[:len(f.Checkpoint)-9] }, pavise.Unverified, "is damaged: the signatures"},
		"a checkpoint without signatures": {func(f *proof.File, _ *proof.Record) {
			f.Checkpoint = f.Checkpoint[:strings.Index(string(f.Checkpoint), "— ")]
		}, pavise.Unverified, "is damaged: the signatures"},
		"junk behind the end":    {func(f *proof.File, _ *proof.Record) { f.Checkpoint = append(f.Checkpoint, "junk\n"...) }, pavise.Unverified, "is damaged: the signatures"},
		"an entry of no version": {func(_ *proof.File, r *proof.Record) { r.Entry[0] = 9 }, pavise.Unverified, "does not hold"},
	} {
		proofRefused(t, what, rewrite(t, file, tt.change), known(t), tt.kind, tt.why)
	}
	proofRefused(t, "with returns", bytes.ReplaceAll(file, []byte("\n"), []byte("\r\n")), known(t), pavise.Unverified, "its line ends were changed in transit")
	for _, n := range []int{30, 200, len(file) - 400, len(file) - 100, len(file) - 1} {
		proofRefused(t, fmt.Sprintf("%d of %d bytes", n, len(file)), file[:n], known(t), pavise.Unverified, "the proof file is damaged")
	}
	proofRefused(t, "no proof file", []byte("nonsense"), known(t), pavise.Invalid, "no proof file")
	proofRefused(t, "a file of another log", elsewhere, known(t), pavise.Unverified, "not by the one you know")
	proofRefused(t, "a key that is none", file, Options{Key: "nonsense"}, pavise.Invalid, "neither a fingerprint")
	if report, err := VerifyProof(theirs, Options{}); err != nil || report.Conclusion != ProvedUnknown {
		t.Errorf("a file of the same name, nothing known: %+v, %v", report, err)
	}
}

// TestProofFileOfAnEntryThatIsNone: what the log signed and nobody can read proves
// nothing.
func TestProofFileOfAnEntryThatIsNone(t *testing.T) {
	entry := []byte("\x01nonsense, and a tag of 16 bytes")
	d := forge(t, entry)
	checkpoint, _ := d.Bytes("checkpoint")
	f := proof.File{Extra: proof.Record{Keys: []string{logKey(t, testKey).String()}, Entry: entry}.Marshal(), Checkpoint: checkpoint}
	proofRefused(t, "nonsense", f.Marshal(), known(t), pavise.Unverified, "entry body is not a record")
}

// TestProofFileNeedsItsQuorum: the policy's witnesses, all that it asks for, at a time.
func TestProofFileNeedsItsQuorum(t *testing.T) {
	signers, policy := witnesses(t, 2)
	file, cp := proofFile(t, 123, signers)
	bare, published := proofFile(t, 123, nil)
	opts := Options{Policy: policy}
	proofRefused(t, "no cosignature", bare, opts, pavise.Unverified, "no quorum")
	one := rewrite(t, file, func(f *proof.File, _ *proof.Record) { f.Checkpoint = cosigned(t, published, epoch, signers[0]).Note })
	proofRefused(t, "one of two", one, opts, pavise.Unverified, "no quorum")
	others, theirs := witnesses(t, 3)
	proofRefused(t, "two of three", file, Options{Policy: theirs}, pavise.Unverified, "no quorum")
	proofRefused(t, "a policy of other logs", file, Options{Policy: parsePolicy(t, "log "+logKey(t, otherKey).String()+"\nquorum none\n")}, pavise.Unverified, "does not list this log")
	proofRefused(t, "another key", file, Options{Key: logKey(t, otherKey).String(), Policy: policy}, pavise.Unverified, "not by the one you know")
	spoilt := rewrite(t, file, func(f *proof.File, _ *proof.Record) {
		f.Checkpoint = []byte(spoil(string(cp.Note), "— witness.example/1 "))
	})
	proofRefused(t, "a broken signature", spoilt, opts, pavise.Unverified, "is not signed by")
	more := rewrite(t, file, func(f *proof.File, _ *proof.Record) { f.Checkpoint = cosigned(t, cp, epoch, others[2]).Note })
	if report, err := VerifyProof(more, opts); err != nil || !slices.Equal(report.Witnessed.By, []string{"witness.example/0", "witness.example/1"}) {
		t.Errorf("a cosignature more than the policy knows: %+v, %v", report, err)
	}
}

// TestProofFileUnderAKeptCheckpoint: the checkpoint that the verifier keeps, signed or
// copied out bare, makes the proof known if it is that of the file, and nothing else
// does.
func TestProofFileUnderAKeptCheckpoint(t *testing.T) {
	signers, policy := witnesses(t, 1)
	file, cp := proofFile(t, 123, signers)
	text, _, _ := strings.Cut(string(cp.Note), "\n\n")
	mallory, err := proof.NewLogSigner("somebody.example", otherKey)
	if err != nil {
		t.Fatal(err)
	}
	resigned, err := proof.Sign(cp.Origin, cp.Size, cp.Root, epoch, mallory)
	if err != nil {
		t.Fatal(err)
	}
	for what, kept := range map[string]string{
		"the file's own": string(cp.Note), "the bare lines": text + "\n", "the lines, and a blank one": text + "\n\n", "under another's signature": string(resigned.Note), "with an extension": text + "\nmore\n",
	} {
		report, err := VerifyProof(file, Options{Checkpoint: []byte(kept)})
		if err != nil || report.Known || report.Since != 300 || report.Conclusion != Proved {
			t.Errorf("%s: %+v, %v", what, report, err)
		}
		report, err = VerifyProof(file, Options{Checkpoint: []byte(kept), Policy: policy})
		if err != nil || !report.Known || report.Since != 300 || report.Conclusion != ProvedWitnessed {
			t.Errorf("%s, and a policy: %+v, %v", what, report, err)
		}
	}
	root := cp.Root.String()
	other := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for what, tt := range map[string]struct{ kept, why string }{
		"another root":            {strings.Replace(text, root, other, 1) + "\n", "split view"},
		"another log":             {strings.Replace(text, testOrigin, "example.test/other", 1) + "\n", `of the log "example.test/other"`},
		"another log, other root": {"example.test/other\n300\n" + other + "\n", `of the log "example.test/other"`},
		"fewer records":           {strings.Replace(text, "\n300\n", "\n299\n", 1) + "\n", "without a consistency proof"},
		"more records":            {strings.Replace(text, "\n300\n", "\n301\n", 1) + "\n", "without a consistency proof"},
		"no records":              {testOrigin + "\n0\n" + other + "\n", "without a consistency proof"},
		"nonsense":                {"nonsense", "the checkpoint kept from earlier: checkpoint is malformed"},
		"no line end":             {text, "the checkpoint kept from earlier: checkpoint is malformed"},
		"returns":                 {strings.ReplaceAll(text+"\n", "\n", "\r\n"), "the checkpoint kept from earlier: checkpoint is malformed"},
		"a line end":              {"\n", "the checkpoint kept from earlier: checkpoint is malformed"},
	} {
		proofRefused(t, what, file, Options{Checkpoint: []byte(tt.kept)}, pavise.Unverified, tt.why)
		proofRefused(t, what+", and the key", file, Options{Key: logKey(t, testKey).String(), Checkpoint: []byte(tt.kept)}, pavise.Unverified, tt.why)
	}
	proofRefused(t, "the right one, another key", file, Options{Key: logKey(t, otherKey).String(), Checkpoint: cp.Note}, pavise.Unverified, "not by the one you know")
}

// TestAnotherLogVouches: the checkpoint that another log has cosigned makes the proof or
// the directory known, and is named as that log's word. One of another size leads to the
// command that writes the right one.
func TestAnotherLogVouches(t *testing.T) {
	file, cp := proofFile(t, 123, nil)
	opts := Options{Checkpoint: cp.Note, VouchedBy: "fleet.example/log"}
	if report, err := VerifyProof(file, opts); err != nil || report.VouchedBy != "fleet.example/log" || report.Since != 300 {
		t.Errorf("a proof file: %+v, %v", report, err)
	}
	all := someLog(t, 300)
	opts.Checkpoint = []byte(all["checkpoint"])
	if report := verified(t, onDisk(all), opts); report.VouchedBy != "fleet.example/log" || report.Conclusion != Verified {
		t.Errorf("a directory: %+v", report)
	}
	if report := verified(t, onDisk(all), known(t)); report.VouchedBy != "" {
		t.Errorf("nobody vouches, and the report names %s", report.VouchedBy)
	}
	leads := func(what string, err error, size int) {
		t.Helper()
		e, ok := errors.AsType[*pavise.Error](err)
		if want := fmt.Sprintf("pavise witness prove %s --size %d", testOrigin, size); !ok || e.Kind != pavise.Unverified || !strings.Contains(e.Msg, "fleet.example/log") || !strings.Contains(e.Hint, want) {
			t.Errorf("%s: %#v", what, err)
		}
	}
	opts.Checkpoint = []byte(someLog(t, 200)["checkpoint"])
	_, err := VerifyProof(file, opts)
	leads("a proof file of more records", err, 300)
	_, err = VerifyOn(onDisk(someLog(t, 150)), opts)
	leads("a directory of fewer records", err, 150)
}

// FuzzVerifyProof: hostile files are refused, or prove the one record that the log
// signed.
func FuzzVerifyProof(f *testing.F) {
	file, cp := proofFile(f, 123, nil)
	f.Add(file, cp.Note)
	f.Add([]byte("c2sp.org/tlog-proof@v1\nindex 0\n\n"), []byte("\n"))
	opts := Options{Key: logKey(f, testKey).Fingerprint()}
	f.Fuzz(func(t *testing.T, file, kept []byte) {
		report, err := VerifyProof(file, opts)
		if err != nil {
			if kind := pavise.KindOf(err); kind != pavise.Unverified && kind != pavise.Invalid {
				t.Error(err)
			}
		} else if report.Record.On.ID != "m123" || report.Index != 123 || report.Conclusion != Proved {
			t.Errorf("%+v", report)
		}
		report, err = VerifyProof(file, Options{Checkpoint: kept})
		if err == nil && len(kept) > 0 && !strings.HasPrefix(string(kept), fmt.Sprintf("%s\n%d\n%s\n", report.Origin, report.Size, report.Root)) {
			t.Errorf("%q is known by %q", file, kept)
		}
	})
}
