package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/demo"
	"github.com/pavise/pavise/internal/fleet"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/login"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/role"
	"github.com/pavise/pavise/internal/screen"
	"github.com/pavise/pavise/internal/verbs"
)

// A cli is one call of the program. Its fields are the flags that every command
// takes.
type cli struct {
	Data     installation.Data `help:"The data directory; of pavise redteam, the file of rows." default:"${data}" env:"${datavariable}" placeholder:"DIR"`
	Server   string            `help:"The server to speak to (default: the one that runs on the data directory)." env:"PAVISE_SERVER" placeholder:"URL"`
	Identity string            `help:"Speak as the person who joined there, with pavise join (default: ${identity}); of pavise model verify, who must have signed." env:"${identityvariable}" placeholder:"DIR"`
	As       string            `help:"Speak as this person, whom the server here was started with (up --person)." env:"PAVISE_AS" placeholder:"NAME"`
	Token    string            `help:"The bearer token to speak with." env:"PAVISE_TOKEN" placeholder:"TOKEN"`
	JSON     bool              `help:"Print answers as JSON."`

	Up          upCommand          `cmd:"" help:"Run everything on this machine, with a sample model behind the firewall."`
	Serve       serveCommand       `cmd:"" help:"Run a fleet's control plane: policies, changes, the console and the CA."`
	Gateway     gatewayCommand     `cmd:"" help:"Run a machine of the data plane: it answers callers of models."`
	Agent       agentCommand       `cmd:"" help:"Make this machine a member of a fleet, and a witness of its logs."`
	Join        joinCommand        `cmd:"" help:"Become somebody at a control plane, by an invitation."`
	Certificate certificateCommand `cmd:"" help:"Write your certificate and its key as PEM, for other programs."`
	Example     exampleCommand     `cmd:"" help:"Print a request to the sample model."`
	Config      configCommand      `cmd:"" help:"Check a pavise.yaml, or print one to begin with."`
	Login       loginCommand       `cmd:"" help:"Log in to a server with your organisation's OpenID provider."`
	Logout      logoutCommand      `cmd:"" help:"Forget the token of a login."`
	Whoami      whoamiCommand      `cmd:"" help:"Print whom the server takes you for."`
	Completion  completionCommand  `cmd:"" help:"Print a completion script for a shell."`
	Version     versionCommand     `cmd:"" help:"Print the version."`

	stdout, stderr screen.Terminal
	counts         bool                        // progress was written to stderr
	typed          map[string]bool             // flags that were typed, and did not come from the environment
	nouns          map[string]any              // noun → pointer to the struct of its commands
	short          map[pavise.Name]pavise.Name // stand-in → the name that was typed, without its beginning; of one command
}

// A command is one that is not a verb of the table.
type command interface {
	run(context.Context, *cli) error
}

// nounHelp says what each group of verbs is about.
var nounHelp = map[string]string{
	"ledger":    "The evidence log: what was decided, and the proof.",
	"policy":    "Who may do what (Cedar).",
	"route":     "Which models stand behind the firewall, and on what terms.",
	"issuer":    "Tokens of the local issuer.",
	"console":   "The web console of the running server.",
	"clock":     "The clock that records are stamped with.",
	"grant":     "Roles that people are given for a time.",
	"node":      "The machines and programs that hold certificates of the built-in CA.",
	"person":    "People who hold certificates of the built-in CA.",
	"ca":        "The roots of the built-in CA.",
	"bundle":    "What gateways are told, and the keys that sign it.",
	"caller":    "Who has asked for something.",
	"tier":      "How far callers are trusted at each model: green, amber, red.",
	"change":    "Acts with consequences for others: proposed, approved by others, run once.",
	"witness":   "Other logs that this one vouches for.",
	"firewall":  "Who copies a model, by what its callers ask. Works on files, without a server.",
	"finding":   "What a person should look at, out of the evidence log.",
	"ticket":    "Changes in the tools that people have: told there, and voted on from there.",
	"siem":      "Where findings are sent: signed webhooks.",
	"subject":   "The people whose data the log keeps, and forgetting them.",
	"dataset":   "What models are trained on: sealed, proved, screened for poison and traced, on files; and watched and traced by a server.",
	"model":     "Models: signed, held to their signatures and scanned, on files; and a server's: versions, what vouches for each, and how far each has come.",
	"target":    "Places where versions of models run: routes of the gateway, functions, machines at the edge.",
	"edge":      "This machine, as one at the edge that runs versions of a model.",
	"deploy":    "Which version of a model runs where, and the way back.",
	"archive":   "Where whole segments of the log go, and how long they stay.",
	"drift":     "Whether what comes into a model, or out of it, has moved: on files, without a server; and while models answer, at one.",
	"watermark": "Marks in a model's answers, and finding them in a copy. All but export works on files, without a server.",
	"ingest":    "What comes in: the gate that records pass, its sources and its quarantine; and files of logs and data, looked at without a server.",
	"redteam":   "Attacks on models of our own, to measure what they give away. Works on files, without a server.",
}

// fileCommands are commands that work on files, beside the verbs of their noun, if it has
// any.
var fileCommands = map[string][]reflect.StructField{
	"dataset": datasetCommands,
	"ledger": {
		{Name: "Verify", Type: reflect.TypeFor[verifyCommand](), Tag: `cmd:"" help:"Prove a log, or one record in a proof file, offline."`},
		{Name: "Follow", Type: reflect.TypeFor[followCommand](), Tag: `cmd:"" help:"Print records as they come, one a line."`},
		{Name: "Doctor", Type: reflect.TypeFor[doctorCommand](), Tag: `cmd:"" help:"Look for anything that is wrong with a log, and mend what is derived."`},
		{Name: "Backup", Type: reflect.TypeFor[backupCommand](), Tag: `cmd:"" help:"Copy a log, also while it is written, and prove the copy."`},
		{Name: "Restore", Type: reflect.TypeFor[restoreCommand](), Tag: `cmd:"" help:"Bring a log back from a backup or the archive, and prove it."`},
	},
	"drift": {
		{Name: "Compare", Type: reflect.TypeFor[driftCompareCommand](), Tag: `cmd:"" help:"Say whether rows are still like those of a baseline."`},
		{Name: "Profile", Type: reflect.TypeFor[driftProfileCommand](), Tag: `cmd:"" help:"Make a baseline of rows, which a server holds its windows to."`},
	},
	"edge": {
		{Name: "Run", Type: reflect.TypeFor[edgeRunCommand](), Tag: `cmd:"" help:"Run what a target at the edge is ordered, on this machine."`},
		{Name: "Rollback", Type: reflect.TypeFor[edgeRollbackCommand](), Tag: `cmd:"" help:"Go back to the version before, on this machine, without the control plane."`},
		{Name: "Status", Type: reflect.TypeFor[edgeStatusCommand](), Tag: `cmd:"" help:"Say which version runs on this machine, and whether it is what was ordered."`},
	},
	"finding": {
		{Name: "Export", Type: reflect.TypeFor[exportCommand](), Tag: `cmd:"" help:"Print a log's findings as OCSF events, offline, once the log is proved."`},
	},
	"firewall": {
		{Name: "Calibrate", Type: reflect.TypeFor[calibrateCommand](), Tag: `cmd:"" help:"Learn from recorded traffic what honest clients are like."`},
		{Name: "Replay", Type: reflect.TypeFor[replayCommand](), Tag: `cmd:"" help:"Look for clients that copy a model in recorded traffic."`},
		{Name: "Coverage", Type: reflect.TypeFor[coverageCommand](), Tag: `cmd:"" help:"Learn from records from where on embeddings may get noise."`},
	},
	"ingest": {
		{Name: "Templates", Type: reflect.TypeFor[templatesCommand](), Tag: `cmd:"" help:"Say what a log is made of: the templates of its lines."`},
		{Name: "Cohort", Type: reflect.TypeFor[cohortCommand](), Tag: `cmd:"" help:"Say which of several like pods writes another log than its siblings."`},
		{Name: "Cloudtrail", Type: reflect.TypeFor[cloudtrailCommand](), Tag: `cmd:"" help:"Say whether the log files of an AWS account are as AWS wrote them, by its digests."`},
		{Name: "Draft", Type: reflect.TypeFor[draftCommand](), Tag: `cmd:"" help:"Draft a data contract from rows as the source sends them on a good day."`},
		{Name: "Push", Type: reflect.TypeFor[pushCommand](), Tag: `cmd:"" help:"Bring a file to the gate, as one batch of a source."`},
		{Name: "Check", Type: reflect.TypeFor[checkCommand](), Tag: `cmd:"" help:"Hold rows to a data contract (Open Data Contract Standard)."`},
	},
	"model": modelCommands,
	"person": {
		{Name: "Key", Type: reflect.TypeFor[personKeyCommand](), Tag: `cmd:"" help:"Print the fingerprint of your key, by which you are invited."`},
	},
	"policy": {
		{Name: "Test", Type: reflect.TypeFor[policyTestCommand](), Tag: `cmd:"" help:"Hold policies in files to what they are to decide."`},
	},
	"redteam": {
		{Name: "Extract", Type: reflect.TypeFor[extractCommand](), Tag: `cmd:"" help:"Copy a model by asking it, and measure how like it the copy is."`},
		{Name: "Curve", Type: reflect.TypeFor[curveCommand](), Tag: `cmd:"" help:"Do so with several attacks and defences, and read a budget off."`},
	},
	"watermark": {
		{Name: "New", Type: reflect.TypeFor[watermarkNewCommand](), Tag: `cmd:"" help:"Make a key to mark a model's answers with."`},
		{Name: "Mark", Type: reflect.TypeFor[watermarkMarkCommand](), Tag: `cmd:"" help:"Mark recorded answers."`},
		{Name: "Verify", Type: reflect.TypeFor[watermarkVerifyCommand](), Tag: `cmd:"" help:"Look for marks in what a suspect says."`},
		{Name: "Fingerprint", Type: reflect.TypeFor[watermarkFingerprintCommand](), Tag: `cmd:"" help:"Find points near a model's decision boundary."`},
		{Name: "Compare", Type: reflect.TypeFor[watermarkCompareCommand](), Tag: `cmd:"" help:"Hold a suspect to the points of a fingerprint."`},
	},
	"witness": {
		{Name: "Serve", Type: reflect.TypeFor[witnessCommand](), Tag: `cmd:"" help:"Run a witness alone: it cosigns other logs' checkpoints, and does nothing else."`},
	},
}

// parser makes the command line: the commands above, and for each noun of the
// table of verbs a group of commands whose arguments and flags are the fields of
// the verb's request.
func (c *cli) parser(exit func(int)) (*kong.Kong, error) {
	c.nouns = map[string]any{}
	fields := map[string][]reflect.StructField{}
	for noun := range fileCommands {
		fields[noun] = nil
	}
	for _, v := range verbs.Table() {
		request := v.NewRequest()
		if request == nil {
			continue
		}
		noun, name, _ := strings.Cut(v.Name, ".")
		fields[noun] = append(fields[noun], reflect.StructField{
			Name: fieldName(name),
			Type: reflect.TypeOf(request).Elem(),
			Tag:  reflect.StructTag(fmt.Sprintf(`cmd:"" help:%q`, v.Help+".")),
		})
	}
	opts := options(c, exit)
	for noun := range fileCommands {
		fields[noun] = fields[noun][:len(fields[noun]):len(fields[noun])] // there, if it has no verb
	}
	for _, noun := range slices.Sorted(maps.Keys(fields)) {
		group := reflect.StructOf(append(fields[noun], fileCommands[noun]...))
		c.nouns[noun] = reflect.New(group).Interface()
		opts = append(opts, kong.DynamicCommand(noun, nounHelp[noun], "", c.nouns[noun]))
	}
	k, err := kong.New(c, opts...)
	if err != nil {
		return nil, err
	}
	describe(k.Model.Node)
	return k, nil
}

// fieldName spells a command's name as kong finds it in a struct: who-can is WhoCan.
func fieldName(name string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(name, "-") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

// describe puts what the table says of each verb behind its command's help.
func describe(root *kong.Node) {
	for _, noun := range root.Children {
		for _, node := range noun.Children {
			for _, v := range verbs.Table() {
				if v.Name == noun.Name+"."+node.Name && v.NewRequest() != nil { // other commands have words of their own
					node.Detail = v.About + "\n\nFor example:\n\n  " + v.Example
				}
			}
		}
	}
}

// nameData settles which data directory is meant when it has no name: an empty variable
// is as good as none, and an empty flag is most likely an empty variable of a script, in
// which somebody believes a directory.
func (c *cli) nameData(path []*kong.Path) error {
	if c.Data != "" {
		return nil
	}
	if slices.ContainsFunc(path, func(p *kong.Path) bool { return p.Flag != nil && p.Flag.Name == "data" }) {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "--data names no directory", Hint: "name one, or leave --data out: then it is " + installation.DefaultData}
	}
	c.Data = installation.DefaultData
	return nil
}

// do runs the command that was chosen.
func (c *cli) do(ctx context.Context, kctx *kong.Context) error {
	if err := oneOfEach(kctx.Path); err != nil {
		return err
	}
	if err := c.nameData(kctx.Path); err != nil {
		return err
	}
	chosen := kctx.Selected().Target.Addr().Interface()
	if cmd, ok := chosen.(command); ok {
		return cmd.run(ctx, c)
	}
	words := strings.Fields(kctx.Command())
	return c.call(ctx, words[0]+"."+words[1], chosen)
}

// call does a verb on the server and prints its answer.
func (c *cli) call(ctx context.Context, verb string, request any) error {
	client, err := c.client(ctx)
	if err != nil {
		return err
	}
	if err := withinBounds(verb, reflect.ValueOf(request).Elem()); err != nil {
		return err
	}
	if err := c.completeNames(ctx, client, verb, reflect.ValueOf(request).Elem()); err != nil {
		return err
	}
	var answer json.RawMessage
	if err := client.Call(ctx, verb, request, &answer); err != nil {
		return err
	}
	shown := false
	if !c.JSON {
		shown, err = screen.Answer(c.stdout, c.stderr, verb, request, answer)
	}
	if !shown && err == nil {
		err = c.printJSON(answer)
	}
	if code := screen.Code(verb, answer); err == nil && code != 0 {
		return &ending{code: code}
	}
	return err
}

// withinBounds refuses a number that the server would refuse, by the name that it has on
// the command line.
func withinBounds(verb string, request reflect.Value) error {
	for _, field := range reflect.VisibleFields(request.Type()) {
		value := request.FieldByIndex(field.Index)
		for value.Kind() == reflect.Pointer && !value.IsNil() {
			value = value.Elem()
		}
		if !value.CanInt() {
			continue
		}
		_, omitted := strings.CutSuffix(field.Tag.Get("json"), ",omitempty")
		if omitted && request.FieldByIndex(field.Index).IsZero() {
			continue
		}
		least, bounded := field.Tag.Lookup("minimum")
		if n, _ := strconv.ParseInt(least, 10, 64); bounded && value.Int() < n {
			return outOfBounds(verb, field, "at least "+least)
		}
		most, bounded := field.Tag.Lookup("maximum")
		if n, _ := strconv.ParseInt(most, 10, 64); bounded && value.Int() > n {
			return outOfBounds(verb, field, "at most "+most)
		}
	}
	return nil
}

func outOfBounds(verb string, field reflect.StructField, bound string) error {
	return &pavise.Error{
		Kind: pavise.Invalid, Msg: fmt.Sprintf("--%s: %s", strings.ToLower(field.Name), bound),
		Hint: fmt.Sprintf("pavise %s --help says what it takes", strings.Replace(verb, ".", " ", 1)),
	}
}

// client speaks to the server of the flags, or to the one where the person of the flags
// has joined, or to the one that runs on the data directory, or to the one where
// somebody has joined at all.
func (c *cli) client(ctx context.Context) (*api.Client, error) {
	if c.Server != "" && c.Token != "" {
		return &api.Client{Base: c.Server, Token: c.Token}, nil
	}
	if c.Identity != "" {
		return c.member(ctx, c.Identity)
	}
	a, err := c.Data.ReadAccess(c.As)
	if ours := err == nil && (c.Server == "" || strings.TrimSuffix(c.Server, "/") == a.Server); !ours && c.Token == "" {
		kept, ok, fault := login.Find(c.Server)
		if fault != nil {
			return nil, fault
		}
		if ok {
			return &api.Client{Base: kept.Server, Token: kept.Token}, nil
		}
	}
	if err != nil && c.Server == "" && c.Token == "" {
		if client, joined := c.member(ctx, fleet.DefaultIdentity()); pavise.KindOf(joined) != pavise.NotFound {
			return client, joined
		}
	}
	if c.Server != "" && (err != nil || strings.TrimSuffix(c.Server, "/") != a.Server) {
		// The operator's own token is for the server that gave it, and no other.
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "there is no token for " + c.Server, Hint: "log in with pavise login, or give one with --token or $PAVISE_TOKEN"}
	}
	if err != nil {
		return nil, err
	}
	return &api.Client{Base: a.Server, Token: cmp.Or(c.Token, a.Token)}, nil
}

// member speaks as the person who joined in a directory.
func (c *cli) member(ctx context.Context, dir string) (*api.Client, error) {
	id, err := fleet.OpenIdentity(ctx, dir, time.Now)
	if err != nil {
		return nil, err
	}
	return id.Client(), nil
}

func (c *cli) printJSON(v any) error { return screen.WriteJSON(c.stdout, v, "  ") }

// usage turns an error of the command line into one for people.
func usage(err error) error {
	if _, ok := errors.AsType[*pavise.Error](err); ok {
		return err
	}
	hint := "pavise --help lists the commands"
	if parse, ok := errors.AsType[*kong.ParseError](err); ok && parse.Context.Selected() != nil {
		hint = parse.Context.Selected().FullPath() + " --help says what it takes"
	}
	return &pavise.Error{Kind: pavise.Invalid, Msg: err.Error(), Hint: hint}
}

// fail prints the error that ends the program, and returns the exit code.
func (c *cli) fail(err error) int {
	if end, ok := errors.AsType[*ending](err); ok {
		if end.err != nil {
			c.say("error", end.err)
		}
		return end.code
	}
	c.say("error", err)
	return pavise.KindOf(err).ExitCode()
}

// say prints an error in the program's voice: a word for how bad it is, what is wrong
// and what to do next. No capitals, no final periods.
func (c *cli) say(word string, err error) {
	kind, msg, hint := pavise.KindOf(err), err.Error(), ""
	if e, ok := errors.AsType[*pavise.Error](err); ok {
		msg, hint = e.Msg, e.Hint
	}
	if c.JSON {
		screen.WriteJSON(c.stderr, map[string]string{word: kind.String(), "message": msg, "hint": hint}, "")
		return
	}
	for line := range strings.Lines(msg) { // what others wrote may have line ends
		fmt.Fprintf(c.stderr, "pavise: %s: %s\n", word, strings.TrimSuffix(line, "\n"))
	}
	for line := range strings.Lines(hint) {
		fmt.Fprintln(c.stderr, "pavise: hint:", strings.TrimSuffix(line, "\n"))
	}
}

// upCommand is pavise up.
type upCommand struct {
	Config      string   `help:"Begin with the models of this pavise.yaml, beside the sample: pavise config example up prints one." placeholder:"FILE"`
	Listen      string   `help:"Address on this machine to listen on." default:"${listen}" placeholder:"HOST:PORT"`
	AcceptClock bool     `help:"Go on although the clock was set back; the step is recorded."`
	Witnesses   string   `help:"Have the witnesses of this policy (C2SP tlog-policy) cosign the log." type:"existingfile" placeholder:"FILE"`
	Archive     string   `help:"Keep whole segments of the log there too: a directory or s3://BUCKET/PREFIX." placeholder:"PLACE"`
	Findings    string   `help:"Append findings there as OCSF events, one a line; - prints them." placeholder:"FILE"`
	Health      string   `help:"Serve /metrics and /healthz there, on a port of their own." placeholder:"HOST:PORT"`
	OTLP        string   `name:"otlp" help:"Send traces and numbers to this OpenTelemetry collector (OTLP/HTTP)." placeholder:"URL"`
	SendTo      []string `help:"Let webhooks go to these addresses, too, which are refused otherwise; may be repeated." placeholder:"CIDR"`
	Models      []string `help:"Let clients of MLflow register versions that lie below this directory; may be repeated." placeholder:"DIR"`
	SignedBy    []string `name:"models-signed-by" help:"Believe signatures of models by this public key or these authorities (PEM); may be repeated." type:"existingfile" placeholder:"FILE"`
	Datasets    []string `help:"Let datasets below this directory, or in this bucket (s3://BUCKET/PREFIX, gs://, az://), be watched (pavise dataset watch); may be repeated." placeholder:"DIR"`
	Person      []string `help:"Another person of this machine, an operator too, for whom --as speaks; may be repeated." placeholder:"NAME"`
	Demo        bool     `help:"Play an hour of the model's life in a minute: those who use it well, and those who do not."`
	Replay      string   `help:"With --demo: ask about these connections (CSV in the layout of NSL-KDD) instead of drawn ones." type:"existingfile" placeholder:"FILE"`
	DemoSpeed   float64  `help:"With --demo: so many times as fast." default:"1" placeholder:"TIMES"`
	PublicTiles bool     `help:"Show the log's hashes to everybody: they tell nothing of the records."`
	Issuer      []string `help:"Trust the tokens of this issuer too, by its record; may be repeated." type:"existingfile" placeholder:"FILE"`
}

// config reads what the flags name.
func (u *upCommand) config(c *cli) (cfg role.UpConfig, err error) {
	cfg = role.UpConfig{
		Data: c.Data, Listen: u.Listen, AcceptClock: u.AcceptClock,
		Archive: u.Archive, Health: u.Health, People: u.Person, PublicTiles: u.PublicTiles, Now: time.Now, Say: c.say,
	}
	if u.Config != "" {
		file, err := part(configured{u.Config}, "up", func(f *config.File) *config.Up { return f.Up })
		if err != nil {
			return cfg, err
		}
		if file.Bootstrap != nil {
			cfg.Routes = file.Bootstrap.Routes
		}
		cfg.ExtProc, cfg.ModelKeys, cfg.ModelTLS, cfg.Detectors, cfg.Drift, cfg.Receive, cfg.Datasets, cfg.DatasetRoom, cfg.Signers, cfg.Models = file.ExtProc, file.ModelKeys, file.ModelTLS, file.Detectors, file.Drift, file.Receive, file.Datasets.Below(), file.Datasets.Room(), file.Signers, file.Models
	}
	cfg.Datasets = append(cfg.Datasets, u.Datasets...)
	if len(u.Models) > 0 {
		own := config.Models{}
		if cfg.Models != nil {
			own = *cfg.Models
		}
		own.Roots = append(slices.Clone(own.Roots), u.Models...)
		cfg.Models = &own
	}
	for _, key := range u.SignedBy {
		cfg.Signers = append(cfg.Signers, config.Signer{Name: filepath.Base(key), File: key})
	}
	if cfg.Issuers, err = role.ReadIssuers(u.Issuer); err != nil {
		return cfg, err
	}
	if cfg.Witnesses, err = readPolicy(u.Witnesses); err != nil {
		return cfg, err
	}
	if cfg.SendTo, err = readPrefixes(u.SendTo); err != nil {
		return cfg, err
	}
	if cfg.Findings = u.Findings; u.Findings == "-" {
		cfg.Findings, cfg.Printer = "", c.stdout
	}
	if u.OTLP != "" {
		cfg.Telemetry = &config.Telemetry{OTLP: u.OTLP, Sample: "1/1"}
	}
	if u.Demo {
		cfg.Stage = demo.NewStage()
	}
	return cfg, nil
}

func (u *upCommand) run(ctx context.Context, c *cli) (err error) {
	cfg, err := u.config(c)
	if err != nil {
		return err
	}
	rows, err := u.rows()
	if err != nil {
		return err
	}
	house, err := role.NewUp(ctx, cfg)
	if err != nil {
		return stoppedEarly(ctx, err)
	}
	defer func() { err = errors.Join(err, house.Close()) }()
	welcome, err := house.Greet(ctx)
	if err != nil {
		return err
	}
	run := house.Run
	if u.Demo {
		run = func(ctx context.Context) error { return u.play(ctx, c, house, welcome, rows) }
	}
	if c.JSON {
		if err := c.printJSON(welcome); err != nil {
			return err
		}
		return run(ctx)
	}
	printGreeting(c.stdout, welcome)
	if err := run(ctx); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "\nstopped; everything answered is on disk, and the next %s goes on with the same log\n", c.Data.Command("up"))
	return nil
}

// stoppedEarly says of a role that was stopped before it was up no more than that: what
// broke off then is nobody's fault.
func stoppedEarly(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return &pavise.Error{Kind: pavise.Unavailable, Msg: "stopped before it was up; the next start goes on from there", Err: err}
}

// readPolicy reads a witness policy; of no file it is nil.
func readPolicy(path string) (*proof.Policy, error) {
	if path == "" {
		return nil, nil
	}
	text, err := readGiven("witness policy", path)
	if err != nil {
		return nil, err
	}
	return proof.ParsePolicy(text)
}

// versionCommand is pavise version.
type versionCommand struct{}

func (*versionCommand) run(_ context.Context, c *cli) error {
	if c.JSON {
		return c.printJSON(map[string]string{"version": installation.Version()})
	}
	fmt.Fprintln(c.stdout, "pavise", installation.Version())
	return nil
}
