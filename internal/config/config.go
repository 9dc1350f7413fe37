package config

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
)

// A File is a whole pavise.yaml. Each part belongs to the role of that name, and
// is nil where the file has none.
type File struct {
	Up      *Up      `yaml:"up"`
	Serve   *Serve   `yaml:"serve"`
	Gateway *Gateway `yaml:"gateway"`
	Agent   *Agent   `yaml:"agent"`
}

// Roles are the roles that the file is for.
func (file *File) Roles() (roles []string) {
	for _, part := range []struct {
		name string
		has  bool
	}{{"up", file.Up != nil}, {"serve", file.Serve != nil}, {"gateway", file.Gateway != nil}, {"agent", file.Agent != nil}} {
		if part.has {
			roles = append(roles, part.name)
		}
	}
	return roles
}

// An Up says what a laptop's Pavise begins with: pavise up. All else of it is flags.
type Up struct {
	ModelKeys []ModelKey   `yaml:"model_keys" doc:"What servers of language models let Pavise in with."`
	ModelTLS  []ModelTLS   `yaml:"model_tls" doc:"Options of TLS for model servers, which routes name."`
	Detectors *Detectors   `yaml:"detectors" doc:"How those are looked for who study a model rather than use it."`
	Signers   []Signer     `yaml:"model_signers" doc:"Whose signatures of models are believed: pavise model add."`
	Drift     *Drift       `yaml:"drift" doc:"How what models are asked, and answer, is held to what it was: docs/drift.md."`
	Models    *Models      `yaml:"models" doc:"Where the files of models are: docs/models.md, with MLflow."`
	Datasets  *Datasets    `yaml:"datasets" doc:"Which datasets can be watched: pavise dataset watch."`
	Receive   *Receive     `yaml:"receive" doc:"Where records may be fetched from: pavise ingest receive chooses among these."`
	Bootstrap *UpBootstrap `yaml:"bootstrap" shown:"true" doc:"What an empty store begins with. It is done once, through the verb that anybody would use, and recorded; afterwards it is ignored, and the start says so."`
	ExtProc   *ExtProc     `yaml:"ext_proc" doc:"Where proxies ask about their exchanges: Envoy, Istio, agentgateway. docs/envoy.md says how they are set up."`
}

// UpTenant is the only tenant that pavise up knows.
const UpTenant = "local"

// Datasets say which datasets can be watched.
type Datasets struct {
	Roots     []string `yaml:"roots" need:"true" example:"[/srv/lake]" doc:"The directories and buckets (s3://BUCKET/PREFIX, gs://…, az://…) below which they lie. Nothing else is looked at, and links that lead out are refused. A bucket's options stand here, as in s3://lake/rows?endpoint=minio:9000; its credentials are those of the environment."`
	GiB       string   `yaml:"gib" example:"64" doc:"How many GiB of seals and indexes are kept of all datasets together, on the disk of the data directory; left out: 64. An index takes 32 bytes a row."`
	TenantGiB string   `yaml:"tenant_gib" example:"16" doc:"How many GiB of them are kept of each tenant; left out: 16."`
}

// Room is how many bytes are kept of something; 0: nobody said.
type Room struct{ Tenant, All int64 }

// Room is how much is kept of seals and indexes.
func (d *Datasets) Room() (r Room) {
	if d != nil {
		r.Tenant, _ = gib(d.TenantGiB) // check has asked
		r.All, _ = gib(d.GiB)
	}
	return r
}

// gib reads how many GiB something has, in bytes; 0: nobody said.
func gib(text string) (bytes int64, ok bool) {
	n, err := strconv.Atoi(text)
	if text == "" || err != nil || n < 1 || n > 1<<20 {
		return 0, text == ""
	}
	return int64(n) << 30, true
}

// checkGiB adds a fault for what is no number of GiB.
func checkGiB(f *faults, field, text string) {
	if _, ok := gib(text); !ok {
		f.add(field, strconv.Quote(text)+" is no number of GiB", "leave it out, or say how many: 1 to 1048576")
	}
}

// Below are the directories; of nil there are none.
func (d *Datasets) Below() []string {
	if d == nil {
		return nil
	}
	return d.Roots
}

func (d *Datasets) check(f *faults) {
	if d == nil {
		return
	}
	for _, root := range d.Roots {
		f.place("roots", root)
	}
	checkGiB(f, "gib", d.GiB)
	checkGiB(f, "tenant_gib", d.TenantGiB)
}

// Models say where the files of models are, and how much of them is kept.
type Models struct {
	Kept   string   `yaml:"kept" example:"s3://models/prefix" doc:"Where the files of models are kept, each once and sealed: a directory, or s3://BUCKET/PREFIX. Left out: the directory depot below data."`
	GiB    string   `yaml:"gib" example:"100" doc:"How many GiB of them are kept; left out: 100."`
	Signed bool     `yaml:"signed" example:"false" doc:"Versions are published and deployed only with a signature by one of model_signers, beside that of the installation itself."`
	Roots  []string `yaml:"roots" example:"[/srv/models]" doc:"The directories below which a version may lie that is registered by its path, as MLflow's clients do. Whoever may add versions may have what lies there read."`
}

// Bytes is how many bytes are kept; 0: nobody said.
func (m *Models) Bytes() int64 {
	if m == nil {
		return 0
	}
	n, _ := gib(m.GiB) // check has asked
	return n
}

func (m *Models) check(f *faults) {
	if m == nil {
		return
	}
	checkGiB(f, "gib", m.GiB)
	for _, root := range m.Roots {
		f.path("roots", root)
	}
}

// An UpBootstrap is what an empty store of pavise up begins with.
type UpBootstrap struct {
	Routes []Route `yaml:"routes" need:"true" doc:"The first models, beside the sample."`
}

// A Serve says what the control plane is to be: pavise serve.
//
// The tags are the documentation: doc is what the example says of a field, and
// example its value there; a field without need may be left out.
type Serve struct {
	Data        string        `yaml:"data" need:"true" example:"/var/lib/pavise/serve" doc:"Where this installation lives: keys, evidence log, state. Its own, for one process."`
	Tenant      string        `yaml:"tenant" need:"true" example:"acme" doc:"Whose installation it is: the first part of every name, as in acme/model/fraud. It stays what it is."`
	TrustDomain string        `yaml:"trust_domain" need:"true" example:"acme.example" doc:"The name in the certificates of the built-in CA, as in spiffe://acme.example/node/gw1. It stays what it is."`
	Listen      string        `yaml:"listen" need:"true" example:"0.0.0.0:8470" doc:"Where people and programs reach the console and the API, by TLS."`
	Fleet       string        `yaml:"fleet" need:"true" example:"0.0.0.0:8480" doc:"Where gateways, agents and people with a certificate of the built-in CA reach it, by mutual TLS."`
	Names       []string      `yaml:"names" need:"true" example:"[localhost, 127.0.0.1]" doc:"The host names and addresses by which it is reached. They are what its certificates are for; the first one is told to who joins."`
	TLS         *TLS          `yaml:"tls" doc:"A certificate of your own for listen, in the place of one of the built-in CA."`
	Issuers     []string      `yaml:"issuers" example:"[/etc/pavise/issuer.json]" doc:"Files with the records of token issuers whose tokens are believed. Issuers for demonstration are refused."`
	Witnesses   string        `yaml:"witnesses" example:"/etc/pavise/witnesses" doc:"A file with the witnesses (C2SP tlog-policy) that cosign this log."`
	Archive     string        `yaml:"archive" example:"s3://bucket/prefix" doc:"Where whole segments of the log are kept, too: a directory, or s3://BUCKET/PREFIX."`
	Admitted    string        `yaml:"admitted" example:"s3://lake/admitted" doc:"Where batches go that the gate lets in (pavise ingest): a directory, or s3://BUCKET/PREFIX. Left out: the directory admitted below data."`
	Findings    string        `yaml:"findings" example:"/var/lib/pavise/serve/findings.jsonl" doc:"A file that gets every finding as a line of OCSF; a dash, in quotes, prints them. Other places are verbs: pavise siem put."`
	SendTo      []string      `yaml:"send_to" example:"[10.1.0.0/16]" doc:"Networks that webhooks (pavise siem put) may go to although they never do otherwise: this machine, link-local ones."`
	PublicTiles bool          `yaml:"public_tiles" example:"false" doc:"Show the log's hashes to everybody. They tell nothing of the records."`
	Certificate time.Duration `yaml:"certificate_life" example:"24h" doc:"How long a certificate of the built-in CA is good, 5m to 168h. It is renewed at half of that."`
	Grace       time.Duration `yaml:"grace" example:"1h" doc:"How long a gateway may go on with what it was told last, when it hears nothing from here: 1m to 168h. Afterwards it refuses everything."`
	DriftVotes  string        `yaml:"drift_votes" example:"1" doc:"How many gateways must find that a version is bad until the one before it answers again by itself, 1 to 100; left out: 1. docs/drift.md says what each way costs."`
	ModelTLS    []ModelTLS    `yaml:"model_tls" doc:"Options of TLS for model servers, which routes name: here for asking them what a new route's model takes."`
	Health      string        `yaml:"health" example:"127.0.0.1:8482" doc:"Where /healthz says how it stands and /metrics what it counts, in clear text and therefore on this machine only; left out: nowhere."`
	Receive     *Receive      `yaml:"receive" doc:"Where records may be fetched from: pavise ingest receive chooses among these."`
	Telemetry   *Telemetry    `yaml:"telemetry" doc:"Where what it counts is sent: docs/telemetry.md says what that is."`
	Signers     []Signer      `yaml:"model_signers" doc:"Whose signatures of models are believed: pavise model add."`
	Models      *Models       `yaml:"models" doc:"Where the files of models are: docs/models.md, with MLflow."`
	Datasets    *Datasets     `yaml:"datasets" doc:"Which datasets can be watched: pavise dataset watch."`
	Bootstrap   *Bootstrap    `yaml:"bootstrap" doc:"What an empty store begins with. It is done once, through the verbs that anybody would use, and recorded; afterwards it is ignored, and the start says so."`
}

// A Gateway says what a machine of the data plane is to be: pavise gateway.
type Gateway struct {
	Data      string        `yaml:"data" need:"true" example:"/var/lib/pavise/gateway" doc:"Where this gateway lives: keys, its own evidence log, state. Its own, for one process."`
	Server    string        `yaml:"server" need:"true" example:"https://localhost:8480" doc:"The fleet address of pavise serve."`
	Listen    string        `yaml:"listen" need:"true" example:"0.0.0.0:8471" doc:"Where callers reach the models, by TLS."`
	GRPC      string        `yaml:"grpc" example:"0.0.0.0:8001" doc:"A second port by TLS, for callers of gRPC who are used to one of its own. They are answered on listen as well."`
	Names     []string      `yaml:"names" need:"true" example:"[localhost, 127.0.0.1]" doc:"The host names and addresses by which callers reach it. Those that its invitation allows go into its certificate."`
	TLS       *TLS          `yaml:"tls" doc:"A certificate of your own for listen, in the place of one of the built-in CA."`
	Health    string        `yaml:"health" example:"127.0.0.1:8481" doc:"Where /healthz says how it stands and /metrics what it counts, in clear text and therefore on this machine only."`
	Grace     time.Duration `yaml:"grace" example:"1h" doc:"How long it goes on when it hears nothing from the server. What the server allows counts if that is less."`
	ModelKeys []ModelKey    `yaml:"model_keys" doc:"What servers of language models let this gateway in with."`
	ModelTLS  []ModelTLS    `yaml:"model_tls" doc:"Options of TLS for model servers, which routes name. A route whose name is not here is there, and answers nothing."`
	Detectors *Detectors    `yaml:"detectors" doc:"How those are looked for who study a model rather than use it."`
	Drift     *Drift        `yaml:"drift" doc:"How what models are asked, and answer, is held to what it was: docs/drift.md."`
	Vectors   string        `yaml:"embedding_key" example:"/etc/pavise/embedding.key" doc:"A file, for its owner alone, with 64 hexadecimal digits: the key by which routes alter vectors (--embeddings). All gateways of a fleet have the same one; without it such a route answers nothing here."`
	Archive   string        `yaml:"archive" example:"s3://bucket/prefix" doc:"Where whole segments of its log are kept, too: a directory, or s3://BUCKET/PREFIX."`
	Findings  string        `yaml:"findings" example:"/var/lib/pavise/gateway/findings.jsonl" doc:"A file that gets every finding of its log as a line of OCSF; a dash, in quotes, prints them."`

	Telemetry *Telemetry `yaml:"telemetry" doc:"Where traces, and what it counts, are sent: docs/telemetry.md says what that is."`
	ExtProc   *ExtProc   `yaml:"ext_proc" doc:"Where proxies ask about their exchanges: Envoy, Istio, agentgateway. docs/envoy.md says how they are set up."`
}

// An Agent says what a machine's agent is to be: pavise agent.
type Agent struct {
	Data   string   `yaml:"data" need:"true" example:"/var/lib/pavise/agent" doc:"Where this agent lives: keys, and what it has witnessed. Its own, for one process."`
	Server string   `yaml:"server" need:"true" example:"https://localhost:8480" doc:"The fleet address of pavise serve."`
	Listen string   `yaml:"listen" need:"true" example:"0.0.0.0:8472" doc:"Where the logs of the fleet ask it for its word, by mutual TLS."`
	Names  []string `yaml:"names" need:"true" example:"[localhost, 127.0.0.1]" doc:"The host names and addresses by which the others reach it; the first one is told to them."`
}

// A ModelKey is what a server of language models lets a gateway in with.
type ModelKey struct {
	Address string `yaml:"address" need:"true" example:"https://api.openai.com" doc:"The server, as routes name it. The key goes to no other; every route to it uses it."`
	File    string `yaml:"file" need:"true" example:"/etc/pavise/openai.key" doc:"A file with the key, in one line, readable for Pavise alone."`
}

// ModelTLS is whom routes believe that name it, and who they are, when their model servers
// are asked by TLS.
type ModelTLS struct {
	Name        string `yaml:"name" need:"true" example:"internal" doc:"What routes call it: pavise route put … --tls internal."`
	Authorities string `yaml:"authorities" example:"/etc/pavise/models-ca.pem" doc:"PEM: the only authorities whose certificates are believed; left out: the system's."`
	Certificate string `yaml:"certificate" example:"/etc/pavise/models.crt" doc:"PEM: the certificate that is shown to servers that ask for one, and those between it and the root."`
	Key         string `yaml:"key" example:"/etc/pavise/models.key" doc:"PEM: its private key, readable for Pavise alone."`
	ServerName  string `yaml:"server_name" example:"models.internal" doc:"The name in the servers' certificates; left out: the host of each address."`
}

// A Signer is somebody whose signatures of models are believed (OpenSSF Model Signing).
type Signer struct {
	Name     string `yaml:"name" need:"true" example:"training" doc:"What this installation calls them: pavise model show says it of what they signed."`
	File     string `yaml:"file" need:"true" example:"/etc/pavise/training.pub" doc:"By what their signatures hold: PEM with their public key, or with the certificates of who is believed to say who signers are; or the trusted_root.json of a Sigstore instance."`
	Identity string `yaml:"identity" example:"training@example.com" doc:"With a trusted_root.json: who must have signed there, an address or a URI."`
	Issuer   string `yaml:"issuer" example:"https://idp.example.com" doc:"With a trusted_root.json: who must have vouched for them (OpenID Connect)."`
}

// checkSigners refuses signers of whom nobody could say who they are.
func checkSigners(f *faults, all []Signer) {
	seen := map[string]bool{}
	for i, s := range all {
		at := f.in("model_signers").in(strconv.Itoa(i))
		at.label("name", s.Name)
		at.path("file", s.File)
		if seen[s.Name] {
			at.add("name", strconv.Quote(s.Name)+" stands here twice", "give each signer a name of their own")
		}
		if seen[s.Name] = true; (s.Identity == "") != (s.Issuer == "") {
			at.add("identity", "goes with issuer, and issuer with it", "say who must have signed, and who vouched for them")
		}
	}
}

// Detectors say how those are looked for who study a model rather than use it.
type Detectors struct {
	NearDuplicates string `yaml:"near_duplicates" need:"true" example:"42" doc:"How many of the last 64 rows of a caller may be near duplicates before a note says so, 1 to 63; off looks for none."`
}

// Bound is how many near duplicates are too many: 0 is the usual, -1 any number.
func (d *Detectors) Bound() int {
	switch {
	case d == nil:
		return 0
	case d.NearDuplicates == "off":
		return -1
	}
	n, _ := strconv.Atoi(d.NearDuplicates)
	return n
}

// maxNear is the most that Detectors.NearDuplicates can ask for.
const maxNear = 63

func (d *Detectors) check(f *faults) {
	if d == nil || d.NearDuplicates == "off" {
		return
	}
	if n, err := strconv.Atoi(d.NearDuplicates); err != nil || n < 1 || n > maxNear || strconv.Itoa(n) != d.NearDuplicates {
		f.add("near_duplicates", "is "+strconv.Quote(clip(d.NearDuplicates))+", not off or a number from 1 to 63", "for example near_duplicates: 42")
	}
}

// Drift says how what models are asked, and answer, is held to what it was.
type Drift struct {
	Window time.Duration `yaml:"window" example:"5m" doc:"How long the shortest windows are, 1s to 1h. The others are 12 and 288 times as long; three of five must agree."`
	Learn  string        `yaml:"learn" example:"2000" doc:"Of how many rows a first baseline is learnt, 500 to 1048576."`
	Few    string        `yaml:"few" example:"3" doc:"How many callers together cannot have a version rolled back, 1 to 8; or none, for where one program alone asks, which is believed."`
}

// Length is how long the shortest windows are; 0: as usual.
func (d *Drift) Length() time.Duration {
	if d == nil {
		return 0
	}
	return d.Window
}

// Learnt is of how many rows a first baseline is learnt; 0: as usual.
func (d *Drift) Learnt() int {
	if d == nil {
		return 0
	}
	n, _ := strconv.Atoi(d.Learn)
	return n
}

// Feared is how many callers together cannot have a version rolled back: 0 as usual, -1 none.
func (d *Drift) Feared() int {
	switch {
	case d == nil || d.Few == "":
		return 0
	case d.Few == "none":
		return -1
	}
	n, _ := strconv.Atoi(d.Few)
	return n
}

func (d *Drift) check(f *faults) {
	if d == nil {
		return
	}
	if d.Window != 0 && (d.Window < time.Second || d.Window > time.Hour) {
		f.add("window", "is "+d.Window.String()+", not 1s to 1h", "for example window: 5m")
	}
	if n, err := strconv.Atoi(d.Learn); d.Learn != "" && (err != nil || n < 500 || n > 1<<20) {
		f.add("learn", "is "+strconv.Quote(clip(d.Learn))+", not 500 to 1048576", "for example learn: 2000")
	}
	if n, err := strconv.Atoi(d.Few); d.Few != "" && d.Few != "none" && (err != nil || n < 1 || n > 8 || strconv.Itoa(n) != d.Few) {
		f.add("few", "is "+strconv.Quote(clip(d.Few))+", not none or a number from 1 to 8", "for example few: 3")
	}
}

// TLS names the files of a certificate.
type TLS struct {
	Certificate string `yaml:"certificate" need:"true" example:"/etc/pavise/tls.crt" doc:"PEM: the certificate, and those between it and the root."`
	Key         string `yaml:"key" need:"true" example:"/etc/pavise/tls.key" doc:"PEM: its private key, readable for Pavise alone."`
}

// Telemetry says where an OpenTelemetry collector gets what is counted, and the traces of
// some requests.
type Telemetry struct {
	OTLP    string `yaml:"otlp" need:"true" example:"http://localhost:4318" doc:"The collector's OTLP/HTTP address. It learns models' names, counts and the indices of records; nothing of callers, and nothing of what they send."`
	Sample  string `yaml:"sample" example:"1/100" doc:"The share of requests that are traced, 1/1 for all of them."`
	Callers string `yaml:"callers" example:"link" doc:"What becomes of a caller's own trace: link begins ours and points to it; continue adds to it, for callers of your own. Whether it is kept is never theirs to say."`
}

// ContinueTraces, as Telemetry.Callers, adds to the traces of callers.
const ContinueTraces = "continue"

// check looks at what was given.
func (t *Telemetry) check(f *faults) {
	u, err := url.Parse(t.OTLP)
	if t.OTLP != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "") {
		f.add("otlp", strconv.Quote(t.OTLP)+" is not the address of a collector", "write http://HOST:4318, without /v1/traces")
	}
	one, every, _ := strings.Cut(t.Sample, "/")
	if n, err := strconv.Atoi(every); t.Sample != "" && (one != "1" || err != nil || n < 1 || n > 1e9) {
		f.add("sample", strconv.Quote(t.Sample)+" is no share of requests", "write 1/100 for one in a hundred, 1/1 for all of them")
	}
	if t.Callers != "" && t.Callers != "link" && t.Callers != ContinueTraces {
		f.add("callers", strconv.Quote(t.Callers)+" is not what becomes of a trace", "write link or continue")
	}
}

// A Bootstrap is what an empty store begins with.
type Bootstrap struct {
	People   []Person          `yaml:"people" doc:"Who begins. Each gets a one-time invitation, which the first start prints: pavise join. To change anything of consequence takes two of them."`
	Policies map[string]string `yaml:"policies" example:"night-shift: permit (principal in Role::\"analyst\", action == Action::\"route.list\", resource);" doc:"Cedar policies, by id, beside the default ones. One with a default's id takes its place."`
	Routes   []Route           `yaml:"routes" doc:"The first models."`
}

// A Person is somebody who begins.
type Person struct {
	ID    string   `yaml:"id" need:"true" example:"ana" doc:"The name in the person's certificate and in every record."`
	Roles []string `yaml:"roles" need:"true" example:"[operator]" doc:"What the person may be: analyst, operator … as policies speak of it."`
	Key   string   `yaml:"key" example:"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" doc:"The fingerprint of the key that the person will hold (pavise person key): then nobody else can join by the invitation."`
}

// A Route is one of the first models. What it leaves out is as pavise route put has
// it.
type Route struct {
	Name      string   `yaml:"name" need:"true" example:"fraud" doc:"The model's name: its id, or in full, as tenant/model/id."`
	ONNX      string   `yaml:"onnx" shown:"true" example:"/etc/pavise/fraud.onnx" doc:"A file with the model, which the gateways run; or else upstream."`
	Upstream  string   `yaml:"upstream" instead:"onnx" example:"http://models:8000" doc:"In the place of onnx: the address of a model server."`
	Replicas  []string `yaml:"replicas" instead:"onnx" example:"[http://models2:8000]" doc:"Further servers of the same model."`
	Remote    string   `yaml:"remote" instead:"onnx" example:"fraud" doc:"The model's name there, if it is another."`
	TLS       string   `yaml:"tls" instead:"onnx" example:"internal" doc:"The options of TLS by which the servers are asked, as model_tls names them."`
	Protocol  string   `yaml:"protocol" instead:"onnx" example:"tfserving" doc:"What the server speaks: oip unless said, oip-binary, oip-grpc, v1, tfserving, torchserve, mlflow or openai."`
	Signature string   `yaml:"signature" instead:"onnx" example:"/etc/pavise/fraud.json" doc:"A file that says what the model takes and gives, where its server cannot: v1, torchserve, mlflow."`
	Rate      string   `yaml:"rate" example:"600/1m" doc:"Rows of each caller."`
	Budget    string   `yaml:"budget" example:"100000/24h" doc:"Rows of each caller in a longer window."`
	Shape     string   `yaml:"shape" example:"round:3" doc:"How much of the scores an answer tells: full, round:DIGITS, topk:K or label."`
	Purpose   string   `yaml:"purpose" example:"security" doc:"What the answers decide: security, health, access …"`
}

// What a role takes when its file does not say.
const (
	DefaultGrace       = time.Hour
	DefaultCertificate = 24 * time.Hour
	DefaultHealth      = "127.0.0.1:8481"
)

// Print, in the place of a file of findings, stands for the standard output.
const Print = "-"

// The bounds of durations.
const (
	minGrace, maxGrace             = time.Minute, 7 * 24 * time.Hour
	minCertificate, maxCertificate = 5 * time.Minute, 7 * 24 * time.Hour
)

func (u *Up) check(f *faults) {
	checkKeys(f, u.ModelKeys)
	checkTLS(f, u.ModelTLS)
	u.Detectors.check(f.in("detectors"))
	checkSigners(f, u.Signers)
	u.Drift.check(f.in("drift"))
	u.Datasets.check(f.in("datasets"))
	u.Models.check(f.in("models"))
	u.Receive.check(f.in("receive"))
	if u.Bootstrap != nil {
		checkRoutes(f.in("bootstrap"), u.Bootstrap.Routes, UpTenant)
	}
	if u.ExtProc != nil {
		u.ExtProc.check(f.in("ext_proc"))
	}
}

// Votes is how many gateways must find that a version is bad.
func (s *Serve) Votes() int {
	n, _ := strconv.Atoi(s.DriftVotes) // check has asked
	return max(n, 1)
}

func (s *Serve) check(f *faults) {
	if n, err := strconv.Atoi(s.DriftVotes); s.DriftVotes != "" && (err != nil || n < 1 || n > 100 || strconv.Itoa(n) != s.DriftVotes) {
		f.add("drift_votes", "is "+strconv.Quote(clip(s.DriftVotes))+", not a number from 1 to 100", "for example drift_votes: 2")
	}
	checkTLS(f, s.ModelTLS)
	f.path("data", s.Data)
	f.label("tenant", s.Tenant)
	f.domain("trust_domain", s.TrustDomain)
	f.address("listen", s.Listen)
	f.address("fleet", s.Fleet)
	if s.Listen != "" && s.Listen == s.Fleet && !strings.HasSuffix(s.Listen, ":0") {
		f.add("fleet", "is the same as listen", "give each a port of its own: one takes tokens, the other certificates")
	}
	f.names("names", s.Names)
	f.findings("findings", s.Findings)
	f.networks("send_to", s.SendTo)
	f.duration("certificate_life", &s.Certificate, DefaultCertificate, minCertificate, maxCertificate)
	f.duration("grace", &s.Grace, DefaultGrace, minGrace, maxGrace)
	f.loopback("health", s.Health)
	checkSigners(f, s.Signers)
	s.Datasets.check(f.in("datasets"))
	s.Models.check(f.in("models"))
	s.Receive.check(f.in("receive"))
	if s.Telemetry != nil {
		s.Telemetry.check(f.in("telemetry"))
	}
	if s.Bootstrap != nil {
		s.Bootstrap.check(f.in("bootstrap"), s.Tenant)
	}
}

func (b *Bootstrap) check(f *faults, tenant string) {
	seen := map[string]bool{}
	for i, p := range b.People {
		at := f.in("people").in(strconv.Itoa(i))
		at.label("id", p.ID)
		if seen[p.ID] {
			at.add("id", strconv.Quote(p.ID)+" stands here twice", "give each person an id of their own")
		}
		seen[p.ID] = true
		for _, role := range p.Roles {
			at.label("roles", role)
		}
	}
	for id, text := range b.Policies {
		at := f.in("policies")
		at.label(id, id)
		if strings.TrimSpace(text) == "" {
			at.add(id, "is empty", "write one Cedar policy, or leave it out")
		}
	}
	checkRoutes(f, b.Routes, tenant)
}

func checkRoutes(f *faults, routes []Route, tenant string) {
	seen := map[pavise.Name]bool{}
	for i, r := range routes {
		at := f.in("routes").in(strconv.Itoa(i))
		r.check(at, tenant)
		if name, err := r.Model(tenant); err == nil && seen[name] {
			at.add("name", strconv.Quote(r.Name)+" stands here twice", "give each model one route")
		} else {
			seen[name] = true
		}
	}
}

// Model is the full name of the route's model in an installation of a tenant.
func (r Route) Model(tenant string) (pavise.Name, error) {
	if strings.Contains(r.Name, "/") {
		return pavise.ParseName(r.Name)
	}
	name := pavise.Name{Tenant: tenant, Kind: "model", ID: r.Name}
	return name, name.Validate()
}

func (r Route) check(f *faults, tenant string) {
	name, err := r.Model(tenant)
	switch {
	case r.Name == "":
	case err != nil:
		f.add("name", err.Error(), "write it as "+tenant+"/model/id, or the id alone")
	case name.Kind != "model" || name.Tenant != tenant:
		f.add("name", strconv.Quote(r.Name)+" is no model of "+tenant, "write it as "+tenant+"/model/id")
	}
	if (r.ONNX == "") == (r.Upstream == "") {
		f.add("", "has to have either onnx or upstream", "name the model's file, or the address of its server")
	}
}

// checkKeys looks at the names of keys' files.
func checkKeys(f *faults, keys []ModelKey) {
	for i, k := range keys {
		at := f.in("model_keys").in(strconv.Itoa(i))
		at.path("file", k.File)
		if slices.ContainsFunc(keys[:i], func(other ModelKey) bool { return other.Address == k.Address }) {
			at.add("address", strconv.Quote(k.Address)+" stands here twice", "one server has one key here")
		}
	}
}

// checkTLS looks at the names of files, and at what belongs together.
func checkTLS(f *faults, all []ModelTLS) {
	for i, t := range all {
		at := f.in("model_tls").in(strconv.Itoa(i))
		at.path("authorities", t.Authorities)
		at.path("certificate", t.Certificate)
		at.path("key", t.Key)
		if (t.Certificate == "") != (t.Key == "") {
			at.add("", "has one of certificate and key", "give both, or none")
		}
		if slices.ContainsFunc(all[:i], func(other ModelTLS) bool { return other.Name == t.Name }) {
			at.add("name", strconv.Quote(t.Name)+" stands here twice", "give each a name of its own")
		}
	}
}

// KeyFiles are the files of keys, by the address of the server.
func KeyFiles(keys []ModelKey) map[string]string {
	files := make(map[string]string, len(keys))
	for _, k := range keys {
		files[k.Address] = k.File
	}
	return files
}

func (g *Gateway) check(f *faults) {
	checkKeys(f, g.ModelKeys)
	checkTLS(f, g.ModelTLS)
	g.Detectors.check(f.in("detectors"))
	g.Drift.check(f.in("drift"))
	f.path("data", g.Data)
	f.server("server", g.Server)
	f.address("listen", g.Listen)
	f.address("grpc", g.GRPC)
	f.names("names", g.Names)
	if g.Health == "" {
		g.Health = DefaultHealth
	}
	f.loopback("health", g.Health)
	f.findings("findings", g.Findings)
	if g.Telemetry != nil {
		g.Telemetry.check(f.in("telemetry"))
	}
	if g.ExtProc != nil {
		g.ExtProc.check(f.in("ext_proc"))
	}
	f.duration("grace", &g.Grace, DefaultGrace, minGrace, maxGrace)
}

func (a *Agent) check(f *faults) {
	f.path("data", a.Data)
	f.server("server", a.Server)
	f.address("listen", a.Listen)
	f.names("names", a.Names)
}

// path checks a file's name that a service can find from anywhere.
func (f *faults) path(key, path string) {
	if path != "" && !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "./") && !strings.HasPrefix(path, "../") {
		f.add(key, strconv.Quote(path)+" is not where a service finds it", "write it from the root, /var/lib/pavise, or from where Pavise is started, ./data")
	}
}

// findings checks where findings are written.
func (f *faults) findings(key, path string) {
	if path != Print {
		f.path(key, path)
	}
}

// networks checks networks, and single addresses.
func (f *faults) networks(key string, texts []string) {
	for _, text := range texts {
		if _, err := Network(text); err != nil {
			f.add(key, strconv.Quote(text)+" is no network", "write it as 10.1.0.0/16, or one address as 10.1.2.3")
		}
	}
}

// Network reads a network, or a single address, in the spelling by which addresses are
// compared with it: no zone, and IPv4 as such.
func Network(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if addr, bad := netip.ParseAddr(text); bad == nil && addr.Zone() == "" {
		p, err = addr.Prefix(addr.BitLen())
	}
	if err == nil && p.Addr().Is4In6() {
		err = errors.New("it is IPv4 in the clothes of IPv6")
	}
	return p, err
}

// label checks what becomes part of a name.
func (f *faults) label(key, text string) {
	if text == "" {
		return // required ones are told apart
	}
	if (pavise.Name{Tenant: text, Kind: "any", ID: text}).Validate() != nil {
		f.add(key, strconv.Quote(text)+" cannot be part of a name", "use letters, digits and . _ @ : + -")
	}
}

// domain checks a SPIFFE trust domain: lower case letters, digits, dots, dashes and
// underscores (SPIFFE-ID, section 2.1).
func (f *faults) domain(key, text string) {
	legal := func(r rune) bool {
		return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '.' || r == '-' || r == '_'
	}
	if len(text) > 255 || strings.IndexFunc(text, func(r rune) bool { return !legal(r) }) >= 0 {
		f.add(key, strconv.Quote(text)+" is no trust domain", "use lower case letters, digits, dots and dashes, for example acme.example")
	}
}

// address checks a host and port to listen on.
func (f *faults) address(key, addr string) (host string) {
	if addr == "" {
		return ""
	}
	host, port, err := net.SplitHostPort(addr)
	if n, e := strconv.Atoi(port); err != nil || e != nil || n < 0 || n > 65535 {
		f.add(key, strconv.Quote(addr)+" is no address to listen on", "write HOST:PORT, for example 0.0.0.0:8470")
	}
	return host
}

func (f *faults) loopback(key, addr string) {
	if addr == "" {
		return
	}
	host := f.address(key, addr)
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		f.add(key, strconv.Quote(addr)+" can be reached from elsewhere, and speaks clear text", "use a loopback address, for example "+DefaultHealth)
	}
}

// names checks host names and IP addresses.
func (f *faults) names(key string, names []string) {
	for _, name := range names {
		legal := func(r rune) bool {
			return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '-'
		}
		if net.ParseIP(name) == nil && (name == "" || len(name) > 253 || strings.IndexFunc(name, func(r rune) bool { return !legal(r) }) >= 0) {
			f.add(key, strconv.Quote(name)+" is neither a host name nor an address", "write names without a scheme and without a port")
		}
	}
}

// server checks the address of the control plane.
func (f *faults) server(key, text string) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		f.add(key, strconv.Quote(text)+" is not the address of a server", "write https://HOST:PORT, where HOST is one of the names in its own file")
	}
}

// duration fills in what was left out, and checks the rest.
func (f *faults) duration(key string, d *time.Duration, otherwise, least, most time.Duration) {
	if *d == 0 {
		*d = otherwise
	}
	if *d < least || *d > most {
		f.add(key, d.String()+" is not between "+least.String()+" and "+most.String(), "leave it out for "+otherwise.String())
	}
}
