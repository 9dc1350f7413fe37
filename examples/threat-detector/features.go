package threatdetector

import "slices"

// A Class is what the model says of a connection.
type Class int

// The classes, in the order of the model's output.
const (
	Normal  Class = iota
	DoS           // denial of service: floods and malformed packets
	Probe         // looking for hosts and services
	R2L           // remote to local: getting in from outside
	U2R           // user to root: gaining privileges inside
	classes       // how many
)

// String returns the name of the class, for example "normal".
func (c Class) String() string {
	return [...]string{"normal", "dos", "probe", "r2l", "u2r"}[c]
}

// Classes returns the names of the classes, in the order of the model's output.
func Classes() []string {
	names := make([]string, classes)
	for k := range classes {
		names[k] = k.String()
	}
	return names
}

// A Feature is one column of the model's input. Values outside [Min, Max]
// cannot come from a real connection.
type Feature struct {
	Name string  `json:"name"`
	Min  float64 `json:"min"`
	Max  float64 `json:"max"`
	// Codes gives a categorical feature's values: the number to send is the
	// index. One past the last stands for any other value.
	Codes []string `json:"codes,omitempty"`

	scale scale
}

// A scale is how the graph prepares a feature.
type scale int

const (
	plain   scale = iota // standardised
	heavy                // ln(1+x), then standardised: a few values dwarf the rest
	encoded              // one column for each code
)

// The categorical features, by index.
const (
	protocolType = 1
	service      = 2
	flag         = 3
)

// Features returns the columns of the input, in their order. Names and meanings
// are those of the KDD Cup 1999 task description; bounds follow from them: two
// second windows count at most 511 connections, host windows at most 255, rates
// are shares. Bounds of open-ended counts are generous.
func Features() []Feature { return slices.Clone(features) }

var features = []Feature{
	{Name: "duration", Max: 86400, scale: heavy}, // seconds
	coded("protocol_type", "icmp", "tcp", "udp"),
	coded("service", "IRC", "X11", "Z39_50", "aol", "auth", "bgp", "courier", "csnet_ns", "ctf", "daytime",
		"discard", "domain", "domain_u", "echo", "eco_i", "ecr_i", "efs", "exec", "finger", "ftp", "ftp_data",
		"gopher", "harvest", "hostnames", "http", "http_2784", "http_443", "http_8001", "imap4", "iso_tsap",
		"klogin", "kshell", "ldap", "link", "login", "mtp", "name", "netbios_dgm", "netbios_ns", "netbios_ssn",
		"netstat", "nnsp", "nntp", "ntp_u", "other", "pm_dump", "pop_2", "pop_3", "printer", "private", "red_i",
		"remote_job", "rje", "shell", "smtp", "sql_net", "ssh", "sunrpc", "supdup", "systat", "telnet", "tftp_u",
		"tim_i", "time", "urh_i", "urp_i", "uucp", "uucp_path", "vmnet", "whois"),
	coded("flag", "OTH", "REJ", "RSTO", "RSTOS0", "RSTR", "S0", "S1", "S2", "S3", "SF", "SH"),
	{Name: "src_bytes", Max: 2e9, scale: heavy},
	{Name: "dst_bytes", Max: 2e9, scale: heavy},
	{Name: "land", Max: 1},
	{Name: "wrong_fragment", Max: 3},
	{Name: "urgent", Max: 16, scale: heavy},
	{Name: "hot", Max: 255, scale: heavy},
	{Name: "num_failed_logins", Max: 16, scale: heavy},
	{Name: "logged_in", Max: 1},
	{Name: "num_compromised", Max: 8192, scale: heavy},
	{Name: "root_shell", Max: 1},
	{Name: "su_attempted", Max: 2},
	{Name: "num_root", Max: 8192, scale: heavy},
	{Name: "num_file_creations", Max: 255, scale: heavy},
	{Name: "num_shells", Max: 16, scale: heavy},
	{Name: "num_access_files", Max: 16, scale: heavy},
	{Name: "num_outbound_cmds", Max: 16, scale: heavy},
	{Name: "is_host_login", Max: 1},
	{Name: "is_guest_login", Max: 1},
	{Name: "count", Max: 511, scale: heavy},
	{Name: "srv_count", Max: 511, scale: heavy},
	{Name: "serror_rate", Max: 1},
	{Name: "srv_serror_rate", Max: 1},
	{Name: "rerror_rate", Max: 1},
	{Name: "srv_rerror_rate", Max: 1},
	{Name: "same_srv_rate", Max: 1},
	{Name: "diff_srv_rate", Max: 1},
	{Name: "srv_diff_host_rate", Max: 1},
	{Name: "dst_host_count", Max: 255, scale: heavy},
	{Name: "dst_host_srv_count", Max: 255, scale: heavy},
	{Name: "dst_host_same_srv_rate", Max: 1},
	{Name: "dst_host_diff_srv_rate", Max: 1},
	{Name: "dst_host_same_src_port_rate", Max: 1},
	{Name: "dst_host_srv_diff_host_rate", Max: 1},
	{Name: "dst_host_serror_rate", Max: 1},
	{Name: "dst_host_srv_serror_rate", Max: 1},
	{Name: "dst_host_rerror_rate", Max: 1},
	{Name: "dst_host_srv_rerror_rate", Max: 1},
}

func coded(name string, codes ...string) Feature {
	return Feature{Name: name, Max: float64(len(codes)), Codes: codes, scale: encoded}
}

// Code returns the number that stands for a value of the categorical feature
// in the given column: its index among the codes, or one past the last.
func Code(column int, value string) float32 {
	codes := features[column].Codes
	if i := slices.Index(codes, value); i >= 0 {
		return float32(i)
	}
	return float32(len(codes))
}
