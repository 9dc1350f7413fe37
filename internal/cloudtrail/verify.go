package cloudtrail

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
)

// Options say what is known of an account beforehand.
type Options struct {
	Keys   Keys
	Bucket string              // whose objects the files are; empty: the one that most digests name
	Say    func(files, of int) // gets how far it is now and then; nil: nobody watches
}

// A head is what is kept of a digest.
type head struct {
	*digest
	name       string // of its file
	hash       [sha256.Size]byte
	start, end time.Time
	logs       int // listed
	good       int // of them as listed
	signed     signing
}

// A signing says how a digest is proved.
type signing int

const (
	noSignature signing = iota
	noKey               // for its fingerprint
	badSignature
	goodSignature
)

// A verifier looks at one directory.
type verifier struct {
	Options
	*tree
	report *Report
	shift  shift
	heads  map[string]*head // by object
	read   int              // log files
}

// Verify looks at the files of a directory as they were copied from a bucket: whole, or from
// some directory in it on. A file that is not as it should be is a finding; an error is what
// kept it from looking, of kind NotFound if there are no digest files at all, Unavailable if it
// was stopped.
func Verify(ctx context.Context, fsys fs.FS, o Options) (*Report, error) {
	t, err := readTree(ctx, fsys)
	if err != nil {
		return nil, err
	}
	v := &verifier{Options: o, tree: t, report: &Report{Chains: []Chain{}, Findings: []Finding{}, Pending: []string{}}, heads: map[string]*head{}}
	series := t.digests()
	if len(series) == 0 {
		return nil, &pavise.Error{
			Kind: pavise.NotFound, Msg: "there are no digest files: nothing vouches for the log files",
			Hint: "copy the bucket with its CloudTrail-Digest directories; log file validation must be on for the trail",
		}
	}
	chains := map[string][]*head{}
	for _, name := range slices.Sorted(maps.Keys(series)) {
		chains[name] = v.readHeads(series[name])
	}
	v.orient(chains)
	for _, name := range slices.Sorted(maps.Keys(chains)) {
		if err := v.chain(ctx, name, chains[name]); err != nil {
			return nil, err
		}
	}
	v.unlisted()
	v.report.conclude(o.Keys.Len())
	return v.report, nil
}

// readHeads reads the digests of one series, without the log files that they list.
func (v *verifier) readHeads(names []string) (heads []*head) {
	for _, name := range names {
		v.report.Digests++
		d, hash, err := v.digest(name)
		if err != nil {
			v.report.find(Unreadable, name, "%v", err)
			continue
		}
		h := &head{digest: d, name: name, hash: hash, logs: len(d.Logs)}
		var errs [2]error
		h.start, errs[0] = instant(d.Start)
		h.end, errs[1] = instant(d.End)
		for _, err := range errs {
			if err != nil {
				v.report.find(Contradiction, name, "%v", err)
			}
		}
		d.Logs = nil
		heads = append(heads, h)
	}
	return heads
}

// orient finds how names of objects and paths go together, and the bucket: as most digests say.
func (v *verifier) orient(chains map[string][]*head) {
	shifts, buckets := map[shift]int{}, map[string]int{}
	for _, heads := range chains {
		for _, h := range heads {
			shifts[shiftOf(h.Object, h.name)]++
			buckets[h.Bucket]++
		}
	}
	v.shift = most(shifts, func(a, b shift) int { return strings.Compare(a.strip+"\x00"+a.add, b.strip+"\x00"+b.add) })
	if v.Bucket == "" {
		v.Bucket = most(buckets, strings.Compare)
	}
}

// most returns what was counted most often.
func most[K comparable](counts map[K]int, compare func(a, b K) int) (best K) {
	for _, key := range slices.SortedFunc(maps.Keys(counts), compare) {
		if counts[key] > counts[best] {
			best = key
		}
	}
	return best
}

// chain looks at the digests of one series, which lie in the order of their names' times.
func (v *verifier) chain(ctx context.Context, series string, heads []*head) error {
	if len(heads) == 0 {
		return nil
	}
	for _, h := range heads {
		v.place(h)
		if other := v.heads[h.Object]; other != nil {
			v.report.find(Fork, h.name, "it says that it is the same object as %s", other.name)
			continue
		}
		v.heads[h.Object] = h
	}
	v.links(heads)
	for i, h := range heads {
		var next *head
		if i+1 < len(heads) {
			next = heads[i+1]
		}
		if err := v.sign(h, next, i == len(heads)-1); err != nil {
			return err
		}
		if err := v.logs(ctx, h); err != nil {
			return err
		}
	}
	v.summarise(series, heads)
	return nil
}

// place holds what a digest says of itself to where it lies.
func (v *verifier) place(h *head) {
	f := v.files[h.name]
	if want, ok := v.shift.path(h.Object); !ok || want != h.name {
		v.report.find(Moved, h.name, "it was written as %.300q", h.Object)
	}
	if h.Bucket != v.Bucket {
		v.report.find(OtherBucket, h.name, "it was written to the bucket %.80q, and not to %.80q", h.Bucket, v.Bucket)
	}
	if h.Account != f.account {
		v.report.find(Contradiction, h.name, "it says that it is of account %.40q, and lies with those of %.40q", h.Account, f.account)
	}
	if !f.at.Equal(h.end) {
		v.report.find(Contradiction, h.name, "it ends at %.40s, and its name says %s", h.End, clock(f.at))
	}
	if !h.start.Before(h.end) {
		v.report.find(Contradiction, h.name, "it begins at %.40s and ends at %.40s", h.Start, h.End)
	}
	if h.Algorithm != signatureMethod {
		v.report.find(Contradiction, h.name, "it is signed by %.40q; AWS signs by %s", h.Algorithm, signatureMethod)
	}
	if !h.begins() && (h.PreviousBucket == nil || h.PreviousObject == nil || h.PreviousHash == nil || h.PreviousSignature == nil || value(h.PreviousHashMethod) != hashMethod) {
		v.report.find(Contradiction, h.name, "it names the digest before it in part, or with another hash than %s", hashMethod)
	}
}

// clock writes a time as digests do.
func clock(t time.Time) string {
	if t.IsZero() {
		return "none"
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// links holds each digest to the one that it names as the one before it. Those of what came
// late are written when there is need, and leave gaps.
func (v *verifier) links(heads []*head) {
	backfill := v.files[heads[0].name].backfill
	for i, h := range heads {
		if h.PreviousObject != nil {
			before := v.heads[*h.PreviousObject]
			switch {
			case before == nil && i > 0:
				v.report.find(MissingDigest, *h.PreviousObject, "%s names it as the digest before", h.name)
			case before == nil:
			case !strings.EqualFold(hex.EncodeToString(before.hash[:]), value(h.PreviousHash)):
				v.report.find(AlteredDigest, before.name, "its content is not what the next digest, %s, was written after", h.name)
			case value(h.PreviousBucket) != before.Bucket:
				v.report.find(OtherBucket, h.name, "it says that the digest before is in the bucket %.80q, and that one says %.80q", value(h.PreviousBucket), before.Bucket)
			case i > 0 && before != heads[i-1]:
				v.report.find(Fork, heads[i-1].name, "the next digest, %s, does not follow it, but %s", h.name, before.name)
			}
		}
		if i == 0 || backfill {
			continue
		}
		before := heads[i-1]
		switch {
		case h.PreviousObject == nil:
			v.report.find(Gap, h.name, "the chain begins anew at %s: from %s on nothing vouches for log files, as when validation or logging was off", h.Start, before.End)
		case h.start.After(before.end):
			v.report.find(Gap, h.name, "nothing vouches for log files from %s to %s", before.End, h.Start)
		case h.start.Before(before.end):
			v.report.find(Contradiction, h.name, "it begins at %s, before %s ends at %s", h.Start, before.name, before.End)
		}
	}
}

// sign proves who wrote a digest, by the signature that the next one has of it, or that was
// kept beside it.
func (v *verifier) sign(h, next *head, newest bool) error {
	kept, err := v.signature(h.name, h.Object)
	if err != nil {
		v.report.find(Unreadable, h.name, "%v", err)
	}
	signature := kept
	if next != nil && value(next.PreviousObject) == h.Object {
		signature = value(next.PreviousSignature)
		if kept != "" && !strings.EqualFold(kept, signature) {
			v.report.find(Contradiction, h.name, "the signature kept beside it is another than the next digest has")
		}
	}
	if signature == "" {
		if !newest && v.Keys.Len() > 0 && !v.files[h.name].backfill {
			v.report.find(Unsigned, h.name, "no other digest has its signature, and none was kept beside it")
		}
		return nil
	}
	bytes, err := hex.DecodeString(signature)
	keys := v.Keys.of(h.Fingerprint)
	switch {
	case err != nil:
		h.signed = badSignature
		v.report.find(BadSignature, h.name, "its signature is not in hexadecimal digits")
	case v.Keys.Len() == 0:
		h.signed = noKey
	case len(keys) == 0:
		h.signed = noKey
		v.report.find(UnknownKey, h.name, "it is signed with the key %.64q, which is not among those given", h.Fingerprint)
	case signs(keys, h.toSign(h.hash), bytes):
		h.signed = goodSignature
		v.report.Verified++
	default:
		h.signed = badSignature
		v.report.find(BadSignature, h.name, "its signature is not of this content, place and time, or not by the key it names")
	}
	return nil
}

// logs holds log files to what a digest says of them.
func (v *verifier) logs(ctx context.Context, h *head) error {
	d, hash, err := v.digest(h.name)
	if err != nil || hash != h.hash {
		v.report.find(Unreadable, h.name, "it changed while it was looked at")
		return nil
	}
	for _, entry := range d.Logs {
		if ctx.Err() != nil {
			return stopped(ctx)
		}
		if v.read++; v.Say != nil && v.read%64 == 0 {
			v.Say(v.read, len(v.files))
		}
		if v.logFile(h, entry) {
			h.good++
		}
	}
	v.report.Logs += h.logs
	if h.signed == goodSignature {
		v.report.LogsProved += h.good
	}
	return nil
}

// logFile holds one log file to what a digest says of it, and says whether it is so.
func (v *verifier) logFile(h *head, entry logEntry) bool {
	name, _ := v.shift.path(entry.Object)
	f := v.files[name]
	if f == nil {
		v.report.find(MissingLog, entry.Object, "%s lists it", h.name)
		return false
	}
	if f.kind != logFile {
		v.report.find(Contradiction, h.name, "it lists %s, which is no log file", name)
		return false
	}
	f.listed++
	if entry.HashMethod != hashMethod || entry.Bucket != h.Bucket {
		v.report.find(Contradiction, h.name, "it lists %s with the hash %.40q and in the bucket %.80q", name, entry.HashMethod, entry.Bucket)
		return false
	}
	read, err := v.log(name)
	switch {
	case err != nil:
		v.report.find(AlteredLog, name, "it cannot be read whole: %v", err)
		return false
	case !strings.EqualFold(read.hash, entry.Hash):
		v.report.find(AlteredLog, name, "its content is not what %s lists", h.name)
		return false
	case f.listed > 1:
		v.report.find(Contradiction, h.name, "it lists %s, which another digest does too", name)
		return false
	}
	return v.times(name, entry, read)
}

// times holds the events of a log file to the times that the digest gives. What no events can
// be read of is as it was written, whatever it is.
func (v *verifier) times(name string, entry logEntry, read logFileRead) bool {
	if read.odd || read.events == 0 || entry.Oldest == nil || entry.Newest == nil {
		return true
	}
	oldest, err := instant(*entry.Oldest)
	newest, err2 := instant(*entry.Newest)
	if err != nil || err2 != nil || read.oldest.Before(oldest) || read.newest.After(newest) {
		v.report.find(OtherTimes, name, "its events are from %s to %s, and its digest says %.40s to %.40s", clock(read.oldest), clock(read.newest), *entry.Oldest, *entry.Newest)
		return false
	}
	return true
}

// summarise says what a chain vouches for.
func (v *verifier) summarise(series string, heads []*head) {
	first, last := heads[0], heads[len(heads)-1]
	f := v.files[first.name]
	c := Chain{Account: f.account, Region: f.region, Series: path.Base(series), From: first.start, To: last.end, Digests: len(heads)}
	for _, h := range heads {
		c.Logs += h.logs
		if h.signed == goodSignature {
			c.Verified++
			c.LogsProved += h.good
		}
	}
	if c.Verified == 0 && v.Keys.Len() > 0 {
		v.report.find(Unsigned, last.name, "none of the %d digests of this chain is proved by the keys given", len(heads))
	}
	c.Begins = "the trail's first digest is here"
	if first.PreviousObject != nil {
		c.Begins = "digests before the first one here were not copied, or are gone"
	}
	c.Ends = map[signing]string{
		noSignature:   "the newest digest is not proved: its signature was not kept beside it",
		noKey:         "the newest digest is not proved: there is no key",
		badSignature:  "the newest digest has a bad signature",
		goodSignature: "the newest digest is proved; whether there are newer ones the files cannot tell",
	}[last.signed]
	v.report.Chains = append(v.report.Chains, c)
}

// Log files are delivered within minutes of their time, and a digest follows each hour.
const (
	delivery = 30 * time.Minute // a log file of that long before the end of a digest is in it
	silence  = 2 * time.Hour    // so long after a digest there has been another one
)

// unlisted looks for log files that no digest lists. One that is newer than the digests, or
// older, is pending.
func (v *verifier) unlisted() {
	type span struct{ from, to time.Time }
	spans := map[string]span{}
	for _, c := range v.report.Chains {
		key := c.Account + "/" + c.Region
		s, there := spans[key]
		if !there || c.From.Before(s.from) {
			s.from = c.From
		}
		if c.To.After(s.to) {
			s.to = c.To
		}
		spans[key] = s
	}
	for _, name := range slices.Sorted(maps.Keys(v.files)) {
		f := v.files[name]
		if f.kind != logFile || f.listed > 0 {
			continue
		}
		s, covered := spans[f.account+"/"+f.region]
		switch {
		case !covered:
			v.report.find(UnlistedLog, name, "there are no digests of its account and region")
		case f.at.IsZero():
			v.report.find(UnlistedLog, name, "no digest lists it, and its name has no time")
		case f.at.After(s.to.Add(silence)):
			v.report.find(Gap, name, "the digests end at %s, long before it: later ones are missing", clock(s.to))
		case f.at.Before(s.from), f.at.After(s.to.Add(-delivery)):
			if v.report.PendingAll++; len(v.report.Pending) < maxFindings {
				v.report.Pending = append(v.report.Pending, name)
			}
		default:
			v.report.find(UnlistedLog, name, "no digest lists it, and those that are here cover its time")
		}
	}
}
