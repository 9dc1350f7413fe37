package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
)

// lives returns a log's files as they were at each of the sizes, cosigned each time by
// the witnesses, if any.
func lives(t *testing.T, signers []*proof.Signer, sizes ...int) []map[string]string {
	t.Helper()
	d := disktest.New()
	var all []map[string]string
	for i, size := range sizes {
		l := openLog(t, options(d))
		grow(t, l, int(l.Size()), size)
		if signers != nil {
			if err := l.KeepWitnessed(cosigned(t, l.Published(), epoch.Add(time.Duration(i)*time.Hour), signers...)); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		all = append(all, files(t, d))
	}
	return all
}

// TestRollbackIsFoundByAKeptCheckpoint puts the whole directory back to each earlier
// state. Whoever keeps a later checkpoint finds it; an earlier one holds, and is said
// to be known from then on.
func TestRollbackIsFoundByAKeptCheckpoint(t *testing.T) {
	sizes := []int{1, 200, 256, 300, 600}
	states := lives(t, nil, sizes...)
	for i, now := range states {
		for j, then := range states {
			kept := Options{Checkpoint: []byte(then["checkpoint"])}
			if j > i {
				refused(t, fmt.Sprintf("%d records, of %d kept", sizes[i], sizes[j]), onDisk(now), kept, "rolled back")
				continue
			}
			report := verified(t, onDisk(now), kept)
			if report.Since != uint64(sizes[j]) || report.Known || report.Records != uint64(sizes[i]) {
				t.Errorf("%d records, of %d kept: %+v", sizes[i], sizes[j], report)
			}
		}
	}
	// A damaged derived file does not keep a rollback from being told.
	old := states[3]
	old["hash.0"] = flip(old["hash.0"], 5)
	refused(t, "a rollback with a damaged file", onDisk(old), Options{Checkpoint: []byte(states[4]["checkpoint"])}, "rolled back")
}

// TestRewrittenHistoryIsFoundByAKeptCheckpoint: with the log's own key, somebody writes
// another history that is longer. Its first records are not those that were kept.
func TestRewrittenHistoryIsFoundByAKeptCheckpoint(t *testing.T) {
	ours := lives(t, nil, 1, 300)
	d := disktest.New()
	l := openLog(t, options(d))
	grow(t, l, 1, 601) // it begins with another record
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	verified(t, d, known(t))
	for _, kept := range ours {
		refused(t, "another history", d, Options{Checkpoint: []byte(kept["checkpoint"])}, "history was rewritten")
	}
	for what, checkpoint := range map[string]string{
		"no checkpoint":                "nonsense",
		"another log's checkpoint":     strings.ReplaceAll(ours[0]["checkpoint"], testOrigin, "example.test/other"),
		"a checkpoint without its end": strings.TrimSuffix(ours[0]["checkpoint"], "\n"),
		"a checkpoint that is changed": strings.Replace(ours[1]["checkpoint"], "\n300\n", "\n30\n", 1),
	} {
		refused(t, what, onDisk(ours[1]), Options{Checkpoint: []byte(checkpoint)}, "the checkpoint kept from earlier")
	}
}

// TestRollbackIsFoundByWitnesses: the checkpoint that witnesses cosigned holds the log
// to what they have seen, kept in the directory or elsewhere; and a directory put back
// whole says no more than that they had seen that.
func TestRollbackIsFoundByWitnesses(t *testing.T) {
	signers, policy := witnesses(t, 3)
	states := lives(t, signers, 256, 300, 600)
	opts := Options{Policy: policy}
	for i, size := range []uint64{256, 300, 600} {
		report := verified(t, onDisk(states[i]), opts)
		w := report.Witnessed
		if !report.Known || w == nil || w.Records != size || !w.At.Equal(epoch.Add(time.Duration(i)*time.Hour)) || strings.Join(w.By, " ") != "witness.example/0 witness.example/1 witness.example/2" {
			t.Errorf("%d records: %+v, %+v", size, report, w)
		}
		for j := range states {
			mixed := onDisk(states[i])
			mixed.Put("witnessed", []byte(states[j]["witnessed"]))
			kept := Options{Checkpoint: []byte(states[j]["witnessed"])}
			if j > i {
				refused(t, "put back, but for what was witnessed", mixed, opts, "witnesses have seen a checkpoint of")
				refused(t, "put back, what was witnessed kept elsewhere", onDisk(states[i]), kept, "rolled back")
				continue
			}
			if w := verified(t, mixed, opts).Witnessed; w.Records != []uint64{256, 300, 600}[j] {
				t.Errorf("witnessed with %d records: %+v", j, w)
			}
			verified(t, onDisk(states[i]), kept)
		}
	}
}

// TestWitnessesMustBeAQuorum: cosignatures that the policy does not ask for, too few of
// them, or of another tree are none, and nor is a log's own word.
func TestWitnessesMustBeAQuorum(t *testing.T) {
	signers, policy := witnesses(t, 3)
	all := lives(t, signers, 300)[0]
	opts := Options{Policy: policy}
	cp, err := proof.Parse([]byte(all["checkpoint"]))
	if err != nil {
		t.Fatal(err)
	}
	log, err := proof.NewLogSigner(testOrigin, testKey)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(size uint64, at time.Time, signers ...*proof.Signer) string {
		cp, err := proof.Sign(testOrigin, size, rootOf(t, all, size), at, signers...)
		if err != nil {
			t.Fatal(err)
		}
		return string(cp.Note)
	}
	for what, tt := range map[string]struct{ witnessed, why string }{
		"nothing":                                 {"", "this is no signed checkpoint"},
		"the log's checkpoint":                    {all["checkpoint"], "no quorum"},
		"two of three":                            {string(cosigned(t, cp, epoch, signers[:2]...).Note), "no quorum"},
		"one of them twice":                       {string(cosigned(t, cp, epoch, signers[0], signers[1], signers[1]).Note), "no quorum"},
		"at no time":                              {sign(300, time.Time{}, append(signers, log)...), "no quorum"},
		"without the log":                         {sign(300, epoch, signers...), "not signed by log"},
		"a broken signature":                      {spoil(all["witnessed"], "— witness.example/2 "), "not signed by"},
		"another tree of that size":               {strings.Replace(all["witnessed"], rootOf(t, all, 300).String(), rootOf(t, all, 299).String(), 1), "not signed by"},
		"the witnesses of a log of the same name": {strings.ReplaceAll(all["witnessed"], "witness.example", "witness2.example"), "no quorum"},
	} {
		changed := onDisk(all)
		changed.Put("witnessed", []byte(tt.witnessed))
		refused(t, what, changed, opts, tt.why)
	}
	none := onDisk(all)
	none.Remove("witnessed")
	refused(t, "no file", none, opts, "no checkpoint of this log bears cosignatures")
	verified(t, none, known(t))
	fork, err := proof.Sign(testOrigin, 300, [32]byte{1}, epoch, append(signers, log)...)
	if err != nil {
		t.Fatal(err)
	}
	forked := onDisk(all)
	forked.Put("witnessed", fork.Note)
	refused(t, "another history of that size, cosigned", forked, opts, "history was rewritten")
	elsewhere := parsePolicy(t, "log "+logKey(t, otherKey).String()+"\nwitness w "+signers[0].Key().String()+"\nquorum w\n")
	refused(t, "a policy of other logs", onDisk(all), Options{Policy: elsewhere}, "does not list this log")
	unlisted := parsePolicy(t, "witness w "+signers[0].Key().String()+"\nquorum w\n")
	report, err := VerifyOn(onDisk(all), Options{Policy: unlisted})
	if err != nil || report.Known || report.Conclusion != Consistent || report.Witnessed == nil || strings.Join(report.Witnessed.By, " ") != "witness.example/0" {
		t.Errorf("a policy that lists no logs: %+v, %v", report, err)
	}
}

// spoil changes a character in the middle of what a name signed.
func spoil(note, name string) string {
	b := []byte(note)
	at := strings.Index(note, name) + len(name) + 50
	if b[at] == 'A' {
		b[at] = 'B'
	} else {
		b[at] = 'A'
	}
	return string(b)
}

// TestNoKeyOfTheLogIsAWitness: a policy whose witness has a key of the log, its second
// one too and under another name, is not met by it. Nor is it when whoever made the
// directory or the file says no more that the key is the log's, and the policy does.
func TestNoKeyOfTheLogIsAWitness(t *testing.T) {
	d := disktest.New()
	opts := options(d)
	opts.MLDSA = testSeed
	l := openLog(t, opts)
	grow(t, l, 0, 5)
	disguised, err := proof.NewMLDSACosigner("witness.elsewhere.example", testSeed)
	if err != nil {
		t.Fatal(err)
	}
	again, err := proof.NewCosigner("witness.elsewhere.example", testKey)
	if err != nil {
		t.Fatal(err)
	}
	below, err := proof.NewCosigner(testOrigin+"/witness", otherKey)
	if err != nil {
		t.Fatal(err)
	}
	for what, w := range map[string]*proof.Signer{"the second key, renamed": disguised, "the first key as a cosigner's": again, "a witness in the log's process": below} {
		if err := l.KeepWitnessed(cosigned(t, l.Published(), epoch, w)); err != nil {
			t.Fatal(err)
		}
		file, err := l.ProofFile(3)
		if err != nil {
			t.Fatal(err)
		}
		policy := parsePolicy(t, "witness w "+w.Key().String()+"\nquorum w\n")
		policy.Logs = []proof.Log{{Key: l.Keys()[0]}}
		refused(t, what, d, Options{Policy: policy}, "no quorum of independent witnesses")
		proofRefused(t, what, file, Options{Policy: policy}, pavise.Unverified, "no quorum of independent witnesses")
		policy.Logs = append(policy.Logs, proof.Log{Key: l.Keys()[1]})
		hidden := onDisk(files(t, d))
		hidden.Put("origin", []byte(l.Keys()[0].String()+"\n"))
		refused(t, what+", no more in the directory", hidden, Options{Policy: policy}, "no quorum of independent witnesses")
		proofRefused(t, what+", no more in the file", withoutKey(t, file), Options{Policy: policy}, pavise.Unverified, "no quorum of independent witnesses")
		text := "log " + l.Keys()[0].String() + "\nlog " + l.Keys()[1].String() + "\nwitness w " + w.Key().String() + "\nquorum w\n"
		if _, err := proof.ParsePolicy([]byte(text)); w != below && pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: the policy is taken: %v", what, err)
		}
	}
}

// withoutKey returns a proof file that holds the first of its keys only.
func withoutKey(t *testing.T, file []byte) []byte {
	t.Helper()
	f, err := proof.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	held, err := proof.ParseRecord(f.Extra)
	if err != nil {
		t.Fatal(err)
	}
	held.Keys = held.Keys[:1]
	f.Extra = held.Marshal()
	return f.Marshal()
}

// pruned returns the files of a log of 1,000 records whose first 512 were pruned, and
// of the same log before.
func pruned(t *testing.T) (before, after map[string]string) {
	t.Helper()
	d := disktest.New()
	l := openLog(t, options(d))
	grow(t, l, 0, 1000)
	before = files(t, d)
	p := record.Pruning{Below: 512, Why: "age"}
	for _, first := range []uint64{0, 256} {
		sum := sha256.Sum256([]byte(before[disk.SegmentName(first)]))
		p.Segments = append(p.Segments, record.PrunedSegment{First: first, Count: 256, SHA256: hex.EncodeToString(sum[:]), Kept: "elsewhere"})
	}
	if err := l.Prune(t.Context(), p, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return before, files(t, d)
}

// TestPrunedLogVerifies: what is left of a log is proved with the hashes of what is
// not, against its key and against every checkpoint that was ever kept.
func TestPrunedLogVerifies(t *testing.T) {
	before, after := pruned(t)
	if _, ok := after[disk.SegmentName(256)]; ok {
		t.Fatal("nothing was pruned")
	}
	report := verified(t, onDisk(after), known(t))
	if report.First != 512 || report.Records != 1001 || !report.From.Equal(epoch.Add(512*time.Second)) {
		t.Errorf("%+v", report)
	}
	log, err := proof.NewLogSigner(testOrigin, testKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []uint64{1, 100, 255, 256, 257, 511, 512, 513, 700, 1000} {
		cp, err := proof.Sign(testOrigin, size, rootOf(t, before, size), epoch, log)
		if err != nil {
			t.Fatal(err)
		}
		if report := verified(t, onDisk(after), Options{Checkpoint: cp.Note}); report.Since != size {
			t.Errorf("since %d, want %d", report.Since, size)
		}
		other, err := proof.Sign(testOrigin, size, rootOf(t, before, size-1), epoch, log)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, fmt.Sprint("another history of ", size), onDisk(after), Options{Checkpoint: other.Note}, "history was rewritten")
	}
}

// TestPrunedLogIsHeldToItsNote: more missing than the log's own record says, or its
// hashes changed or missing, is found.
func TestPrunedLogIsHeldToItsNote(t *testing.T) {
	before, after := pruned(t)
	for what, change := range map[string]func(map[string]string){
		"a segment more missing":            func(all map[string]string) { delete(all, disk.SegmentName(512)) },
		"the note's segment missing":        func(all map[string]string) { delete(all, disk.SegmentName(768)) },
		"the hashes missing":                func(all map[string]string) { delete(all, "hash.0") },
		"the hashes cut":                    func(all map[string]string) { all["hash.0"] = all["hash.0"][:512*32-1] },
		"the note not signed":               func(all map[string]string) { all["checkpoint"] = before["checkpoint"] },
		"a segment back, which is no first": func(all map[string]string) { all[disk.SegmentName(0)] = before[disk.SegmentName(0)] },
	} {
		all := files(t, onDisk(after))
		change(all)
		refused(t, what, onDisk(all), known(t), "")
	}
	for seed := range uint64(200) {
		all := files(t, onDisk(after))
		name := []string{"hash.0", "hash.1"}[seed%2]
		bit := rand.New(rand.NewPCG(seed, 1)).IntN(8 * len(all[name]))
		all[name] = flip(all[name], bit)
		if report, err := VerifyOn(onDisk(all), known(t)); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("seed %d: %s, bit %d: %+v, %v", seed, name, bit, report, err)
		}
	}
	whole := files(t, onDisk(after)) // what was pruned comes back from the archive
	for _, first := range []uint64{0, 256} {
		whole[disk.SegmentName(first)] = before[disk.SegmentName(first)]
	}
	if report := verified(t, onDisk(whole), known(t)); report.First != 0 {
		t.Errorf("%+v", report)
	}
}
