package cloudtrail

import (
	"path"
	"strings"
	"time"
)

// What a file is, by its place in the bucket.
type kind int

const (
	other kind = iota
	digestFile
	logFile
)

// A place is what a path says: [prefix/]AWSLogs/[organisation/]account/CloudTrail/region/…
type place struct {
	kind     kind
	account  string
	region   string
	series   string // digests: what all of one trail, account and region have in common
	backfill bool
	at       time.Time // digests: the end; logs: the minute that their name has. Zero: the name has none
}

// where reads a path with slashes.
func where(file string) place {
	parts := strings.Split(file, "/")
	for i := len(parts) - 3; i >= 1; i-- {
		if parts[i] != "CloudTrail" && parts[i] != "CloudTrail-Digest" {
			continue
		}
		p := place{kind: logFile, account: parts[i-1], region: parts[i+1]}
		name, _, json := strings.Cut(path.Base(file), ".json")
		if !json || strings.HasSuffix(file, signatureSuffix) {
			return place{}
		}
		if parts[i] == "CloudTrail" {
			p.at = stamp(name, "20060102T1504Z", 1)
			return p
		}
		p.kind = digestFile
		name, p.backfill = strings.CutSuffix(name, "_backfill")
		p.at = stamp(name, "20060102T150405Z", 0)
		at := max(strings.LastIndexByte(name, '_'), 0)
		p.series = strings.Join(parts[:i+2], "/") + " " + name[:at]
		if p.backfill {
			p.series += " backfill"
		}
		return p
	}
	return place{}
}

// stamp reads the time in a name, so many parts from its end.
func stamp(name, layout string, fromEnd int) time.Time {
	parts := strings.Split(name, "_")
	if len(parts) <= fromEnd {
		return time.Time{}
	}
	t, err := time.Parse(layout, parts[len(parts)-1-fromEnd])
	if err != nil {
		return time.Time{}
	}
	return t
}

// A shift leads from the names of objects in the bucket to paths in the directory.
type shift struct {
	strip, add string
}

// shiftOf returns how a path came from an object's name: what both end with is the same.
func shiftOf(object, file string) shift {
	n := 0 // bytes that both end with, up to a slash
	for i := 1; ; i++ {
		atEnd := i > len(object) || i > len(file)
		if atEnd || object[len(object)-i] != file[len(file)-i] {
			if i > len(object) && (i > len(file) || file[len(file)-i] == '/') || i > len(file) && object[len(object)-i] == '/' {
				n = i - 1
			}
			return shift{object[:len(object)-n], file[:len(file)-n]}
		}
		if object[len(object)-i] == '/' {
			n = i
		}
	}
}

// path is where an object is to lie, or false if it cannot lie in the directory.
func (s shift) path(object string) (string, bool) {
	rest, ok := strings.CutPrefix(object, s.strip)
	return s.add + rest, ok
}
