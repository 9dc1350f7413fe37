package edge

import (
	"net/url"
	"slices"
	"strings"

	"github.com/pavise/pavise/internal/tensor"
)

// A Class says what a path of a model server is for.
type Class string

// The classes. Infer, Describe and Health are what this gateway serves, where a row says
// so; everything else is refused, unless a policy permits the class's verb.
const (
	Infer    Class = "inference"
	Describe Class = "description"
	Health   Class = "health"
	Control  Class = "model control"
	Memory   Class = "shared memory"
	Trace    Class = "tracing"
	Logging  Class = "logging"
	Weights  Class = "weights"
	Tokenize Class = "tokenizer"
	Metrics  Class = "metrics"
	Files    Class = "files and batches"
)

// VerbOther is the verb of what is never passed on: paths that no table names, and those
// of a class that has no verb of its own.
const VerbOther = "model.other"

// verbs has the verb of each class that a policy can permit.
var verbs = map[Class]string{
	Control: "model.control", Memory: "model.memory", Trace: "model.trace", Logging: "model.logging",
	Weights: "model.weights", Tokenize: "model.tokenize", Metrics: "model.metrics",
}

// Verb is what the guard is asked about a path of the class that is not served.
func (c Class) Verb() string {
	if verb, ok := verbs[c]; ok {
		return verb
	}
	return VerbOther
}

// Verbs says of each verb that is asked aside from inference what it is: the rows that
// the table of verbs has of them.
func Verbs() [][3]string {
	const door = " Nothing but a policy of the tenant permits it, no role does, and then it is passed to the route's model server as JSON encoded anew: docs/profiles.md has the paths."
	return [][3]string{
		{"model.control", "Load, unload and list models on a model server", "At the gateway's door, with whatever else changes what a server does: pausing it, scaling it, its repository." + door},
		{"model.memory", "Have a model server use shared memory", "At the gateway's door: system, CUDA and XPU regions. Inference through such memory stays refused: its tensors would pass by the firewall." + door},
		{"model.trace", "Have a model server trace requests", "At the gateway's door: traces and profiles hold what callers sent." + door},
		{"model.logging", "Change what a model server logs", "At the gateway's door." + door},
		{"model.weights", "Change a model's weights, or load adapters", "At the gateway's door: another model would answer under the name." + door},
		{"model.tokenize", "Have a language model's server count and spell tokens", "At the gateway's door." + door},
		{"model.metrics", "Read a model server's own metrics", "At the gateway's door: they count what all callers do." + door},
		{VerbOther, "Ask a model server for what no table names", "At the gateway's door. It is never passed on, whatever policies say: the verb is there so that each try is a record."},
	}
}

// An Entry is one path of a model server.
type Entry struct {
	Server string // the product
	Method string // * for any
	Path   string // {model}, {version} and other names in braces stand for one segment, {rest...} for the rest
	Class  Class
	Served bool // a door of ours answers it
}

// A profile is what a product serves. What is not in it is unknown, and refused too.
type profile struct {
	server    string
	protocols []string // of routes to such a server
	rows      []row
}

// A row is paths of one class, each with its method before it. A + before the method
// says that a door of ours answers it.
type row struct {
	class Class
	paths string
}

// Profile returns the whole surface of the model servers that are known here, product by
// product, as far as it is known: HTTP, and the methods of gRPC as the paths that HTTP/2 has
// for them.
func Profile() []Entry { return slices.Clone(surface) }

var surface = entries()

func entries() []Entry {
	var all []Entry
	for _, p := range profiles {
		for _, r := range p.rows {
			for line := range strings.SplitSeq(strings.TrimSpace(r.paths), "\n") {
				method, path, _ := strings.Cut(strings.TrimSpace(line), " ")
				method, served := strings.CutPrefix(method, "+")
				all = append(all, Entry{p.server, method, path, r.class, served})
			}
		}
	}
	return all
}

// protocolsOf returns what routes to a product speak.
func protocolsOf(server string) []string {
	i := slices.IndexFunc(profiles, func(p profile) bool { return p.server == server })
	return profiles[i].protocols
}

// A match is an entry and what stands for the names in its path.
type match struct {
	Entry
	names map[string]string
}

// Knows reports whether the path is one that a model server has, whatever for.
func Knows(method, path string) bool { return len(matches(method, path)) > 0 }

// matches returns the entries that a request is one of, and none of those that only
// differ in what they are called.
func matches(method, path string) []match {
	parts := strings.Split(path, "/")
	var all []match
	for _, e := range surface {
		if e.Method != "*" && e.Method != method {
			continue
		}
		if names, ok := e.fit(parts); ok {
			all = append(all, match{e, names})
		}
	}
	return all
}

// fit compares a path with the entry's.
func (e Entry) fit(parts []string) (names map[string]string, ok bool) {
	pattern := strings.Split(e.Path, "/")
	for i, want := range pattern {
		if strings.HasSuffix(want, "...}") {
			return names, i < len(parts)
		}
		if i >= len(parts) {
			return nil, false
		}
		name, after, isName := cutName(want)
		if !isName {
			if parts[i] != want {
				return nil, false
			}
			continue
		}
		value, ok := strings.CutSuffix(parts[i], after)
		if !ok || value == "" {
			return nil, false
		}
		if names == nil {
			names = map[string]string{}
		}
		names[name] = value
	}
	return names, len(parts) == len(pattern)
}

// cutName splits {model}:predict into the name and what follows it.
func cutName(segment string) (name, after string, ok bool) {
	if !strings.HasPrefix(segment, "{") {
		return "", "", false
	}
	name, after, ok = strings.Cut(segment[1:], "}")
	return name, after, ok
}

// there is the path on a server, whose model has that name and version there.
func (m match) there(remote, version string) string {
	segments := strings.Split(m.Path, "/")
	for i, segment := range segments {
		name, after, ok := cutName(segment)
		if !ok {
			continue
		}
		value := m.names[name]
		switch name {
		case "model":
			value = remote
		case "version":
			value = version
		}
		segments[i] = url.PathEscape(value) + after
	}
	return strings.Join(segments, "/")
}

// passes reports whether the entry can be passed to a server at all: its verb is one
// that a policy can permit, and its path has no part that could lead elsewhere.
func (m match) passes() bool {
	if m.Verb() == VerbOther || m.Method != "GET" && m.Method != "POST" || m.grpc() || strings.HasSuffix(m.Path, "...}") {
		return false
	}
	for _, value := range m.names {
		if value == "." || value == ".." {
			return false
		}
	}
	return true
}

// Verb is that of the entry's class.
func (e Entry) Verb() string { return e.Class.Verb() }

// grpc reports whether the entry is a method of gRPC.
func (e Entry) grpc() bool { return strings.Contains(strings.SplitN(e.Path, "/", 3)[1], ".") }

// protocols of the servers that have tensors.
var (
	ofTriton  = []string{tensor.NameOIP, tensor.NameOIPGRPC}
	ofKServe  = []string{tensor.NameOIP, tensor.NameOIPGRPC, tensor.NameV1, tensor.NameOpenAI}
	ofTorch   = []string{tensor.NameTorchServe}
	ofTF      = []string{tensor.NameTFServing}
	ofMLflow  = []string{tensor.NameMLflow}
	ofOpenAIs = []string{tensor.NameOpenAI}
)
