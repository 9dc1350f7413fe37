package proof

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
)

// Bounds of a policy file: far more than the 32 that the specification asks for.
const (
	maxPolicy  = 1 << 20 // bytes
	maxMembers = 1024    // logs, and witnesses and groups together
)

// A Policy says which logs to believe, and which witnesses must have cosigned a
// checkpoint (C2SP tlog-policy). It is immutable.
type Policy struct {
	Logs      []Log
	Witnesses []Witness

	nodes  []node // witnesses and groups, in the order of the file; a group's members stand before it
	quorum int    // index into nodes; none when no cosignature is asked for
}

// none is the quorum of a policy that asks for no cosignature.
const none = -1

// A Log is a log that a policy names.
type Log struct {
	Key *Key
	URL string // its prefix, or ""
}

// A Witness is a witness that a policy names.
type Witness struct {
	Name string // in the policy file alone
	Key  *Key
	URL  string // its submission prefix, or ""
}

// A node is a witness, or a group of which at least need members must hold.
type node struct {
	name    string
	witness *Key // nil for a group
	need    int
	members []int // indexes of nodes
}

// ParsePolicy reads a policy file. The error is of kind Invalid and names the
// line. A witness that has the key of one of the policy's logs is one: it would
// count for a log that does not show that key.
func ParsePolicy(text []byte) (*Policy, error) {
	if len(text) > maxPolicy {
		return nil, policyFault(0, fmt.Errorf("it is %d bytes long, more than %d", len(text), maxPolicy))
	}
	p := policyParser{names: map[string]int{}, policy: &Policy{quorum: none}}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		if err := p.line(strings.TrimSuffix(line, "\n")); err != nil {
			return nil, policyFault(number, err)
		}
	}
	if !p.decided {
		return nil, policyFault(number, errors.New("it has no quorum line"))
	}
	return p.policy, nil
}

func policyFault(line int, why error) error {
	hint := "its lines are: log KEY [URL], witness NAME KEY [URL], group NAME all|any|K MEMBER…, quorum NAME|none"
	if errors.Is(why, errOwnCause) {
		hint = "name a witness that runs elsewhere, under a key of its own"
	}
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("witness policy, line %d: %v", line, why), Hint: hint}
}

// errOwnCause is the cause when one key is listed as a log's and as a witness's.
var errOwnCause = errors.New("who has it would be a witness in its own cause")

// A policyParser reads a policy line by line.
type policyParser struct {
	policy  *Policy
	names   map[string]int // witnesses and groups → index of their node
	used    []bool         // by node: it is a member of a group already
	decided bool           // the quorum line was read
}

func (p *policyParser) line(line string) error {
	for _, c := range []byte(line) {
		if c < ' ' && c != '\t' || c == 0x7f {
			return fmt.Errorf("it has the control character %#x", c)
		}
	}
	words := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
	if len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return nil
	}
	if len(p.policy.Logs)+len(p.policy.nodes) > maxMembers {
		return fmt.Errorf("there are more than %d logs, witnesses and groups", maxMembers)
	}
	switch words[0] {
	case "log":
		return p.log(words[1:])
	case "witness":
		return p.witness(words[1:])
	case "group":
		return p.group(words[1:])
	case "quorum":
		return p.quorum(words[1:])
	}
	return fmt.Errorf("%.40q begins no line of a policy", words[0])
}

func (p *policyParser) log(words []string) error {
	key, address, err := keyAndURL(words)
	if err != nil {
		return err
	}
	if key.algorithm == CosignatureEd25519 {
		return fmt.Errorf("a log does not sign with a key of type %s", key.algorithm)
	}
	if slices.ContainsFunc(p.policy.Logs, func(l Log) bool { return l.Key.Same(key) }) {
		return fmt.Errorf("the key of log %s is listed twice", key.name)
	}
	if at := slices.IndexFunc(p.policy.Witnesses, func(w Witness) bool { return w.Key.Same(key) }); at >= 0 {
		return fmt.Errorf("witness %.40s has this key of log %s: %w", p.policy.Witnesses[at].Name, key.name, errOwnCause)
	}
	p.policy.Logs = append(p.policy.Logs, Log{Key: key, URL: address})
	return nil
}

func (p *policyParser) witness(words []string) error {
	if len(words) < 1 {
		return fmt.Errorf("a witness needs a name and a key")
	}
	key, address, err := keyAndURL(words[1:])
	if err != nil {
		return err
	}
	if key.algorithm == Ed25519 {
		return fmt.Errorf("witness %.40s has a key that signs no times: a witness cosigns", words[0])
	}
	if slices.ContainsFunc(p.policy.Witnesses, func(w Witness) bool { return w.Key.Same(key) }) {
		return fmt.Errorf("the key of witness %.40s is listed twice", words[0])
	}
	if at := slices.IndexFunc(p.policy.Logs, func(l Log) bool { return l.Key.Same(key) }); at >= 0 {
		return fmt.Errorf("witness %.40s has a key of log %s: %w", words[0], p.policy.Logs[at].Key.name, errOwnCause)
	}
	p.policy.Witnesses = append(p.policy.Witnesses, Witness{Name: words[0], Key: key, URL: address})
	return p.add(node{name: words[0], witness: key})
}

// keyAndURL reads the end of a log or witness line.
func keyAndURL(words []string) (key *Key, address string, err error) {
	if len(words) < 1 || len(words) > 2 {
		return nil, "", fmt.Errorf("a key and perhaps a URL are wanted, not %d words", len(words))
	}
	if key, err = ParseKey(words[0]); err != nil {
		return nil, "", err
	}
	if len(words) == 1 {
		return key, "", nil
	}
	u, err := url.Parse(words[1])
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, "", fmt.Errorf("%.80q is no http or https address of a prefix", words[1])
	}
	return key, strings.TrimSuffix(words[1], "/"), nil
}

func (p *policyParser) group(words []string) error {
	if len(words) < 3 {
		return fmt.Errorf("a group needs a name, a threshold and members")
	}
	n := node{name: words[0]}
	for _, member := range words[2:] {
		at, ok := p.names[member]
		switch {
		case !ok:
			return fmt.Errorf("member %.40q is not defined above", member)
		case p.used[at]:
			return fmt.Errorf("member %.40q is in a group already, and may count once only", member)
		}
		p.used[at] = true
		n.members = append(n.members, at)
	}
	switch words[1] {
	case "all":
		n.need = len(n.members)
	case "any":
		n.need = 1
	default:
		need, err := decimal(words[1])
		if err != nil || need < 1 || need > uint64(len(n.members)) {
			return fmt.Errorf("threshold %.40q is neither all, any nor a number from 1 to %d", words[1], len(n.members))
		}
		n.need = int(need)
	}
	return p.add(n)
}

// add gives a witness or group its name.
func (p *policyParser) add(n node) error {
	if _, taken := p.names[n.name]; taken || n.name == "none" {
		return fmt.Errorf("the name %.40q is taken", n.name)
	}
	p.names[n.name] = len(p.policy.nodes)
	p.policy.nodes = append(p.policy.nodes, n)
	p.used = append(p.used, false)
	return nil
}

func (p *policyParser) quorum(words []string) error {
	if len(words) != 1 || p.decided {
		return fmt.Errorf("a policy has one quorum line, with one name")
	}
	p.decided = true
	if words[0] == "none" {
		return nil
	}
	at, ok := p.names[words[0]]
	if !ok {
		return fmt.Errorf("quorum %.40q is not defined above", words[0])
	}
	p.policy.quorum = at
	return nil
}

// Asks reports whether the policy asks for any cosignature.
func (p *Policy) Asks() bool { return p.quorum != none }

// Satisfied reports whether the cosigners are a quorum for a log, and when it had
// come together: by then a quorum had seen the tree, say the earliest of its
// signatures that suffice. Witnesses in the log's own trust domain do not count.
// A policy that asks for none is satisfied at the zero time.
func (p *Policy) Satisfied(log []*Key, cosigners []Signature) (at time.Time, ok bool) {
	if !p.Asks() {
		return time.Time{}, true
	}
	byTime := slices.Clone(cosigners)
	slices.SortStableFunc(byTime, func(a, b Signature) int { return a.At.Compare(b.At) })
	seen := map[*Key]bool{}
	for _, sig := range byTime {
		if sig.At.IsZero() || !p.Counts(log, sig.Key) {
			continue
		}
		for _, w := range p.Witnesses {
			if w.Key.String() == sig.Key.String() {
				seen[w.Key] = true
			}
		}
		if p.holds(p.quorum, seen) {
			return sig.At, true
		}
	}
	return time.Time{}, false
}

// holds reports whether a node of the policy holds when these witnesses cosigned.
func (p *Policy) holds(at int, seen map[*Key]bool) bool {
	n := p.nodes[at]
	if n.witness != nil {
		return seen[n.witness]
	}
	have := 0
	for _, member := range n.members {
		if p.holds(member, seen) {
			have++
		}
	}
	return have >= n.need
}

// Reachable says why no quorum of independent witnesses can ever come together
// for a log, or nil. The error is of kind Invalid.
func (p *Policy) Reachable(log []*Key) error {
	if !p.Asks() {
		return nil
	}
	seen := map[*Key]bool{}
	var own []string
	for _, w := range p.Witnesses {
		if p.Counts(log, w.Key) {
			seen[w.Key] = true
		} else {
			own = append(own, w.Name)
		}
	}
	if p.holds(p.quorum, seen) {
		return nil
	}
	return &pavise.Error{
		Kind: pavise.Invalid,
		Msg:  fmt.Sprintf("the witness policy cannot be met for log %s: %s would be a witness in its own cause and does not count", log[0].name, strings.Join(own, ", ")),
		Hint: "name witnesses that run elsewhere, under keys of their own, until they make the quorum without it",
	}
}

// Counts reports whether a witness is independent of the log with these keys, and has
// none that the policy lists as a log's: a log that hides one of its keys does not
// make a witness of it.
func (p *Policy) Counts(log []*Key, witness *Key) bool {
	return Independent(log, witness) && !slices.ContainsFunc(p.Logs, func(l Log) bool { return l.Key.Same(witness) })
}

// Independent reports whether a witness may vouch for the log with these keys: its own
// is none of them, and its name does not lie under the log's, which is how a Pavise
// names the witness that runs in the log's process.
func Independent(log []*Key, witness *Key) bool {
	return !slices.ContainsFunc(log, func(k *Key) bool {
		return k.Same(witness) || witness.name == k.name || strings.HasPrefix(witness.name, k.name+"/")
	})
}

// Keys returns the keys of all logs and witnesses, for [Open].
func (p *Policy) Keys() []*Key {
	var keys []*Key
	for _, l := range p.Logs {
		keys = append(keys, l.Key)
	}
	for _, w := range p.Witnesses {
		keys = append(keys, w.Key)
	}
	return keys
}
