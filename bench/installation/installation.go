// Package installation is as much of an installation of Pavise as it takes to be read
// and followed over HTTP, for what measures that and for peers that read it. It owns a
// log, a store and a server on loopback, below one directory.
package installation

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"time"

	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/feed"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/verbs"
	"github.com/pavise/pavise/internal/witness"
)

// Tenant is the only one.
const Tenant = "bench"

// Origin is the log's name.
const Origin = "bench.pavise.example/installation"

// An Installation serves its API and the tiles of its log.
type Installation struct {
	Log    *ledger.Log
	Feeds  *feed.Feeds
	Server *httptest.Server
	Client *api.Client // an analyst's

	db *store.DB
}

// Open makes one in a directory, which should be empty.
func Open(ctx context.Context, dir string) (i *Installation, err error) {
	i = &Installation{}
	defer func() {
		if err != nil {
			err = errors.Join(err, i.Close())
		}
	}()
	seed := bytes.Repeat([]byte{3}, ed25519.SeedSize)
	i.Log, err = ledger.Open(ledger.Options{Dir: filepath.Join(dir, "ledger"), Origin: Origin, Key: ed25519.NewKeyFromSeed(seed), MLDSA: seed, Tenant: Tenant})
	if err != nil {
		return i, err
	}
	if i.db, err = store.Open(ctx, filepath.Join(dir, "db")); err != nil {
		return i, err
	}
	if i.Feeds, err = feed.Open(ctx, i.Log, i.db, time.Now); err != nil {
		return i, err
	}
	return i, i.serve(ctx, seed)
}

// serve starts the server.
func (i *Installation) serve(ctx context.Context, seed []byte) error {
	door, err := guard.New(guard.Config{Actions: verbs.Actions(), Log: i.Log, Tenant: Tenant, DemoIssuer: issuer.LocalURL("bench")})
	if err != nil {
		return err
	}
	if err := door.Load(Tenant, guard.Defaults()); err != nil {
		return err
	}
	local, err := issuer.New(issuer.Config{Guard: door, Seed: seed, Install: "bench", Tenant: Tenant, Now: time.Now})
	if err != nil {
		return err
	}
	verifier, err := identity.NewVerifier(time.Now, local.Record())
	if err != nil {
		return err
	}
	token, err := local.Bootstrap(issuer.MintRequest{Subject: "reader", Roles: []string{issuer.RoleAnalyst}})
	if err != nil {
		return err
	}
	cosigner, err := witness.Open(ctx, witness.Config{Store: i.db, Now: time.Now})
	if err != nil {
		return err
	}
	rooms := verbs.Rooms{Rooms: evidence.Rooms{Guard: door, Log: i.Log, Feeds: i.Feeds, Witness: cosigner}, Issuer: local}
	control := verbs.NewServer(ctx, &rooms, verifier)
	mux := http.NewServeMux()
	mux.Handle("/v1/", control.Handler())
	mux.Handle(evidence.TilesPrefix, rooms.Tiles(control.Admit, false))
	i.Server = httptest.NewServer(mux)
	i.Client = &api.Client{Base: i.Server.URL, Token: token.Value}
	return nil
}

// Close stops it.
func (i *Installation) Close() error {
	if i.Server != nil {
		i.Server.CloseClientConnections()
		i.Server.Close()
	}
	var errs []error
	if i.Log != nil {
		errs = append(errs, i.Log.Close())
	}
	if i.db != nil {
		errs = append(errs, i.db.Close())
	}
	return errors.Join(errs...)
}
