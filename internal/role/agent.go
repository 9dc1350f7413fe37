package role

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/fleet"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/premises"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/server"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/witness"
)

// AgentConfig says what a machine's agent is to be.
type AgentConfig struct {
	config.Agent
	Invitation string                       // with which it joins, if it is no member yet
	Say        func(word string, err error) // tells whoever started it what goes wrong meanwhile; nil: nobody
	Now        func() time.Time
}

// An Agent is the role that makes a machine a member of a fleet: it keeps its
// certificate fresh, says that it is there, and is a witness for the logs of the
// others. It claims nothing more of the machine.
type Agent struct {
	cfg      AgentConfig
	member   *fleet.Membership
	db       *store.DB
	witness  *witness.Server
	listener net.Listener
	server   server.Server
}

// NewAgent opens an agent, and joins the fleet if it has not. What it opened is closed
// again when something fails.
func NewAgent(ctx context.Context, cfg AgentConfig) (a *Agent, err error) {
	if cfg.Say == nil {
		cfg.Say = func(string, error) {}
	}
	a = &Agent{cfg: cfg}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	data := installation.Data(cfg.Data)
	keys, err := data.Open()
	if err != nil {
		return a, err
	}
	if a.listener, err = premises.ListenOn(cfg.Listen, "agent.listen"); err != nil {
		return a, err
	}
	if a.member, err = joinFleet(ctx, data, cfg.Server, cfg.Invitation, keys, cfg.Now); err != nil {
		return a, err
	}
	j := a.member.Is()
	signers, err := premises.Cosigners(fleet.LogName(j.Domain, j.Name.ID)+"/"+keys.Install+"/witness", keys)
	if err != nil {
		return a, err
	}
	if a.db, err = store.Open(ctx, data.Path("witness.db")); err != nil {
		return a, err
	}
	a.witness, err = witness.Open(ctx, witness.Config{Signers: signers, Store: a.db, Now: cfg.Now, Forked: a.forked})
	if err != nil {
		return a, err
	}
	a.member.Missing(cfg.Names, cfg.Say)
	a.server = server.Members(a.members(a.witness.Handler()), a.member.Certificate)
	return a, nil
}

// forked says that a log has two histories. The proof is in the agent's store, and it
// cosigns that log no more, which everybody who asks for a quorum notices.
func (a *Agent) forked(_ context.Context, origin string, _, _ []byte) error {
	a.cfg.Say("error", &pavise.Error{
		Kind: pavise.Unverified, Msg: "the log " + origin + " has signed two histories",
		Hint: "stop the machine whose log it is, and keep both: the checkpoints lie in " + installation.Data(a.cfg.Data).Path("witness.db"),
	})
	return nil
}

// members lets machines of the fleet through, and nobody else. The agent knows no list
// of them: that one was revoked keeps it from renewing, and out after that.
func (a *Agent) members(inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := a.member.Admit(r.TLS); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	})
}

// Run serves until ctx is done, then stops accepting and lets requests under way end.
// Close comes after it.
func (a *Agent) Run(ctx context.Context) error {
	rooms, stopRooms := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRooms()
	var house errgroup.Group
	house.Go(func() error { a.member.Renew(rooms, func(err error) { a.cfg.Say("warning", err) }); return nil })
	house.Go(func() error { a.report(rooms); return nil })
	err := server.Until(ctx, a.server, a.listener)
	stopRooms()
	return errors.Join(err, house.Wait())
}

// report says that it is there, every few seconds until ctx is done, and hears which
// logs to be a witness of.
func (a *Agent) report(ctx context.Context) {
	client := a.member.Client()
	defer client.CloseIdleConnections()
	for ctx.Err() == nil {
		var answer fleet.Reply
		asked, cancel := context.WithTimeout(ctx, fleet.ReportEvery)
		err := a.member.Post(asked, client, "/fleet/report", fleet.Report{
			Role: "agent", Version: installation.Version(), Witness: witnessKeys(a.witness), URL: a.URL(),
		}, &answer)
		cancel()
		if err == nil {
			err = errors.Join(a.member.Believe(answer.Roots), a.watch(ctx, answer.Watch))
		}
		if err != nil && ctx.Err() == nil {
			a.cfg.Say("warning", err)
		}
		select {
		case <-time.After(fleet.ReportEvery):
		case <-ctx.Done():
		}
	}
}

// watch becomes a witness of logs. Of one that it knows it takes no other key from the
// control plane than from anybody: what was seen of it stays. A key that cannot be taken,
// such as the agent's own under another's name, keeps none behind it out.
func (a *Agent) watch(ctx context.Context, keys []string) error {
	var errs []error
	for _, text := range keys {
		key, err := proof.ParseKey(text)
		if err == nil {
			err = a.witness.Trust(ctx, key)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// witnessKeys are the keys with which a witness cosigns.
func witnessKeys(w *witness.Server) (texts []string) {
	for _, key := range w.Keys() {
		texts = append(texts, key.String())
	}
	return texts
}

// URL is where it is asked.
func (a *Agent) URL() string { return originsOf(a.cfg.Names[:1], a.listener)[0] }

// Name is the machine's name in the fleet.
func (a *Agent) Name() pavise.Name { return a.member.Is().Name }

// Logs are the logs that it is a witness of.
func (a *Agent) Logs(ctx context.Context) ([]witness.Log, error) { return a.witness.Logs(ctx) }

// Close stops listening and closes the store. It may be called on an agent that was
// never finished.
func (a *Agent) Close() (err error) {
	if a.listener != nil {
		a.listener.Close()
	}
	if a.db != nil {
		err = a.db.Close()
	}
	return err
}
