package evidence

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
)

// TilesPrefix is where the log is read as any transparency log is (C2SP
// tlog-tiles).
const TilesPrefix = "/log/"

// tileVerbs are asked for at another door: GET below TilesPrefix.
func tileVerbs() []api.Verb {
	return []api.Verb{
		{
			Name: "ledger.tile", On: []string{"ledger"}, Class: guard.Pooled,
			Help:  "Read a tile of the log's hashes",
			About: "GET /log/tile/LEVEL/N[.p/WIDTH], C2SP tlog-tiles. Hashes tell nothing of the records; pavise up --public-tiles shows them to everybody.",
		},
		{
			Name: "ledger.bundle", On: []string{"ledger"}, Class: guard.Pooled,
			Help:  "Read a bundle of the log's entries",
			About: "GET /log/tile/entries/N[.p/WIDTH], C2SP tlog-tiles. A bundle that holds records of another tenant is shown to nobody: ledger.read and ledger.prove serve those of one's own.",
		},
	}
}

// Tiles serves the log below TilesPrefix: its checkpoint and keys to everybody, its
// hashes to everybody if they are public, and all else to who may read it. admit says who
// asks.
func (rooms *Rooms) Tiles(admit func(*http.Request) (pavise.Principal, error), public bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+TilesPrefix+"checkpoint", rooms.checkpoint)
	mux.HandleFunc("GET "+TilesPrefix+"keys", rooms.keys)
	mux.HandleFunc("GET "+TilesPrefix+"tile/", func(w http.ResponseWriter, r *http.Request) {
		t, err := proof.ParseTile(strings.TrimPrefix(r.URL.EscapedPath(), TilesPrefix))
		if err != nil {
			api.Refuse(w, &pavise.Error{Kind: pavise.NotFound, Msg: "that is no path of a tile", Hint: "tile/LEVEL/N or tile/entries/N, with N in groups of three digits, and .p/WIDTH for a partial one"})
			return
		}
		var body []byte
		if public && !t.Entries {
			body, err = rooms.Log.Tile(t)
		} else {
			body, err = rooms.tile(r, admit, t)
		}
		if err != nil {
			if pavise.KindOf(err) == pavise.Unverified {
				w.Header().Set("WWW-Authenticate", identity.Challenge(err))
			}
			api.Refuse(w, err)
			return
		}
		scope := "private"
		if public && !t.Entries {
			scope = "public"
		}
		w.Header().Set("Cache-Control", scope+", max-age=31536000, immutable")
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body)
	})
	mux.HandleFunc(TilesPrefix, func(w http.ResponseWriter, _ *http.Request) {
		api.Refuse(w, &pavise.Error{Kind: pavise.NotFound, Msg: "the log has no such part", Hint: "GET /log/checkpoint, /log/keys, /log/tile/LEVEL/N and /log/tile/entries/N"})
	})
	return mux
}

// checkpoint shows the newest checkpoint: the one that witnesses cosigned, where some
// are asked and have, so that whoever reads it can hold it against theirs.
func (rooms *Rooms) checkpoint(w http.ResponseWriter, _ *http.Request) {
	cp := rooms.Log.Published()
	if seen := rooms.Log.Witnessed(); rooms.Quorum != nil && seen.Size > 0 {
		cp = seen
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.Write(cp.Note)
}

// PublishedKeys says by which keys a log, and the witness beside it, are known.
type PublishedKeys struct {
	Origin  string   `json:"origin"`
	Log     []LogKey `json:"log"`     // sign its checkpoints; the first is its identity
	Witness []LogKey `json:"witness"` // cosign other logs' checkpoints
}

// keys shows the keys with their fingerprints. That they are the right ones is for
// another way to say.
func (rooms *Rooms) keys(w http.ResponseWriter, _ *http.Request) {
	published := PublishedKeys{Origin: rooms.Log.Origin(), Log: logKeys(rooms.Log.Keys()), Witness: logKeys(rooms.Witness.Keys())}
	body, _ := json.MarshalIndent(published, "", "  ") // cannot fail: strings
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	w.Write(append(body, '\n'))
}

func logKeys(keys []*proof.Key) []LogKey {
	shown := []LogKey{}
	for _, k := range keys {
		shown = append(shown, LogKey{k.String(), k.Algorithm().String(), k.Fingerprint()})
	}
	return shown
}

// tile reads a tile or a bundle on behalf of who asks.
func (rooms *Rooms) tile(r *http.Request, admit func(*http.Request) (pavise.Principal, error), t proof.Tile) ([]byte, error) {
	who, err := admit(r)
	if err != nil {
		return nil, err
	}
	return rooms.readTile(r.Context(), who, t)
}

func (rooms *Rooms) readTile(ctx context.Context, who pavise.Principal, t proof.Tile) (body []byte, err error) {
	verb := "ledger.tile"
	if t.Entries {
		verb = "ledger.bundle"
	}
	entry, err := rooms.Guard.Enter(ctx, who, verb, theLog(who.Tenant))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	entry.Detail(map[string]string{"tile": t.String()})
	if !t.Entries {
		return rooms.Log.Tile(t)
	}
	return rooms.Log.Bundle(t, func(g record.Glimpse) error {
		if g.Tenant == who.Tenant {
			return nil
		}
		return &pavise.Error{Kind: pavise.NotFound, Msg: "this bundle holds records of another tenant, and is shown to nobody", Hint: "read your own one by one: pavise ledger read, pavise ledger prove"}
	})
}
