package oci

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// Path is below what clients of registries ask.
const Path = "/v2/"

// PathToken is where clients that want a token of the registry's own get theirs back.
const PathToken = "/v2/token"

// A target is what a path asks for.
type target struct {
	repository string // as the client names it
	what       string // base, token, manifests, blobs, uploads, tags or referrers
	ref        string // a tag or digest, the id of an upload, or nothing
}

// Knows reports whether a request is for a registry, by its path alone: the protocol of
// inference has paths below /v2 too, those of models among them.
func Knows(path string) bool {
	rest, ok := strings.CutPrefix(path, Path)
	if !ok || strings.HasPrefix(rest, "models/") || strings.HasPrefix(rest, "health/") {
		return false
	}
	_, ok = parsePath(path)
	return ok
}

// parsePath reads the path of a request. Repositories have slashes in their names, so what is
// asked of one is read from the end.
func parsePath(path string) (t target, ok bool) {
	rest, ok := strings.CutPrefix(path, Path)
	switch {
	case !ok || len(rest) > 1024:
		return t, false
	case rest == "":
		return target{what: "base"}, true
	case path == PathToken:
		return target{what: "token"}, true
	}
	parts := strings.Split(rest, "/")
	n := len(parts)
	from := func(drop int, what, ref string) (target, bool) {
		if n <= drop {
			return target{}, false
		}
		t := target{strings.Join(parts[:n-drop], "/"), what, ref}
		return t, repositoryName.MatchString(t.repository) && len(t.repository) <= 255
	}
	switch {
	case n >= 4 && parts[n-3] == "blobs" && parts[n-2] == "uploads":
		return from(3, "uploads", parts[n-1]) // the last part is empty where one begins
	case n >= 3 && parts[n-2] == "blobs" && parts[n-1] == "uploads":
		return from(2, "uploads", "")
	case n >= 3 && parts[n-2] == "tags" && parts[n-1] == "list":
		return from(2, "tags", "")
	case n >= 3 && (parts[n-2] == "manifests" || parts[n-2] == "blobs" || parts[n-2] == "referrers"):
		return from(2, parts[n-2], parts[n-1])
	}
	return t, false
}

// Names of repositories and tags, as the specification has them.
var (
	repositoryName = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagName        = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

	versionTag  = regexp.MustCompile(`^v([1-9][0-9]{0,8})$`)
	numberTag   = regexp.MustCompile(`^v?[0-9]+$`)
	digestLike  = regexp.MustCompile(`^[a-zA-Z0-9]+[-_.+][0-9a-fA-F]{32,}|^[0-9a-fA-F]{32,}$`)
	uploadID    = regexp.MustCompile(`^[0-9a-f]{32}$`)
	chunkRange  = regexp.MustCompile(`^([0-9]{1,18})-([0-9]{1,18})$`)
	bytesRanges = regexp.MustCompile(`^bytes=([0-9]{0,18})-([0-9]{0,18})$`)
)

// parseDigest reads a digest, which here is always sha256: and 64 small hexadecimal digits.
func parseDigest(text string) error {
	algorithm, digits, ok := strings.Cut(text, ":")
	switch _, err := hex.DecodeString(digits); {
	case !ok || len(text) > 256:
		return refuse(codeDigest, fmt.Sprintf("%.80q is no digest", text), "write sha256: and 64 hexadecimal digits")
	case algorithm != "sha256":
		return refuse(codeDigest, fmt.Sprintf("the digest is by %.40q", algorithm), "this registry keeps all by sha256")
	case err != nil || len(digits) != 64 || digits != strings.ToLower(digits):
		return refuse(codeDigest, fmt.Sprintf("%.80q is no digest", text), "write sha256: and 64 small hexadecimal digits")
	}
	return nil
}

// isDigest reports whether a reference is written as a digest, right or wrong: a tag has no
// colon.
func isDigest(ref string) bool { return strings.Contains(ref, ":") }

// versionOf returns the number that a tag like v3 means.
func versionOf(tag string) (number int, ok bool) {
	m := versionTag.FindStringSubmatch(tag)
	if m == nil {
		return 0, false
	}
	number, err := strconv.Atoi(m[1])
	return number, err == nil
}

// pushable refuses a tag that nobody may move, or that would be taken for something else.
func pushable(tag string) error {
	switch {
	case !tagName.MatchString(tag):
		return refuse(codeManifestInvalid, fmt.Sprintf("%.80q is no tag", tag), "a tag is letters, digits, _ . and -, at most 128 of them")
	case strings.EqualFold(tag, "latest"):
		return refuse(codeUnsupported, `no model has the tag "latest": it would say that something is newest, and not who decided to run it`, "push under the name of an alias, such as candidate, or by digest")
	case numberTag.MatchString(tag):
		return refuse(codeUnsupported, fmt.Sprintf("the tag %s looks like the number of a version, which a version gets when it is pushed", tag), "push under the name of an alias, such as candidate, or by digest")
	case digestLike.MatchString(tag):
		return refuse(codeUnsupported, fmt.Sprintf("the tag %.80s looks like a digest", tag), "what refers to a model is pushed by digest with a subject, and found at referrers: in cosign --registry-referrers-mode=oci-1-1")
	}
	return nil
}

// A span is a part of a blob: its first byte, and how many there are.
type span struct{ from, length int64 }

// parseRange reads a Range of a blob of a size. whole: there is none, or none that is
// understood, and all of it is to be sent. ok is false where it lies behind the end.
func parseRange(header string, size int64) (s span, whole, ok bool) {
	m := bytesRanges.FindStringSubmatch(header)
	if m == nil || m[1] == "" && m[2] == "" {
		return span{0, size}, true, true
	}
	first, _ := strconv.ParseInt(m[1], 10, 64)
	last, _ := strconv.ParseInt(m[2], 10, 64)
	switch {
	case m[1] == "" && (last == 0 || size == 0):
		return s, false, false
	case m[1] == "":
		last = min(last, size)
		return span{size - last, last}, false, true
	case m[2] == "":
		last = size - 1
	case last < first:
		return span{0, size}, true, true // malformed: as if it were not there
	}
	if first >= size {
		return s, false, false
	}
	return span{first, min(last, size-1) - first + 1}, false, true
}

// parseChunk reads the Content-Range of a piece of an upload. An empty one says nothing.
func parseChunk(header string) (first, length int64, said bool, err error) {
	if header == "" {
		return 0, 0, false, nil
	}
	m := chunkRange.FindStringSubmatch(header)
	if m == nil {
		return 0, 0, false, refuse(codeUpload, fmt.Sprintf("Content-Range is %.60q", header), "write FIRST-LAST, the numbers of the first and last byte")
	}
	first, _ = strconv.ParseInt(m[1], 10, 64) // at most 18 digits
	last, _ := strconv.ParseInt(m[2], 10, 64)
	if last < first {
		return 0, 0, false, refuse(codeUpload, fmt.Sprintf("Content-Range is %.60q, and ends before it begins", header), "write FIRST-LAST, the numbers of the first and last byte")
	}
	return first, last - first + 1, true, nil
}

// parseQuery reads a query, in which no name stands twice.
func parseQuery(raw string) (url.Values, error) {
	q, err := url.ParseQuery(raw)
	if err == nil {
		for name, values := range q {
			if len(values) > 1 {
				err = fmt.Errorf("%.40q stands there twice", name)
			}
		}
	}
	if err != nil || len(raw) > 4096 {
		return nil, refuse(codeUnsupported, "the query of the address cannot be read", "say each name once, and escape what is no letter")
	}
	return q, nil
}
