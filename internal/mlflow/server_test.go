package mlflow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/registry"
)

// hostile is a pickle that runs a command when it is loaded.
const hostile = "cos\nsystem\n(S'id'\ntR."

// TestPendingUntilLookedAt has a version be pending, then ready, or failed with what was found;
// and nobody gets files before they were looked at, or of what does harm.
func TestPendingUntilLookedAt(t *testing.T) {
	w := newWorld(t)
	good := w.register(t, model)
	w.ask(t, "mia", "GET", "/mlflow/model-versions/get?name=fraud&version="+good, "", 200, `"status":"READY"`)
	w.ask(t, "mia", "GET", "/mlflow-artifacts/artifacts/models/fraud/"+good+"/MLmodel", "", 200, "flavors")
	w.ask(t, "dan", "GET", "/mlflow-artifacts/artifacts/models/fraud/"+good+"/MLmodel", "", 403, "model.inspect") // it is not published
	bad := w.register(t, map[string]string{"model/MLmodel": "flavors: {}\n", "model/model.pkl": hostile})
	w.ask(t, "mia", "GET", "/mlflow/model-versions/get?name=fraud&version="+bad, "", 200, `"status":"FAILED_REGISTRATION"`, "model.pkl", "system")
	w.ask(t, "mia", "GET", "/mlflow-artifacts/artifacts/models/fraud/"+bad+"/MLmodel", "", 409, "failed")
	w.ask(t, "mia", "GET", "/mlflow-artifacts/artifacts?path=models/fraud/"+bad, "", 409)
	w.ask(t, "pat", "POST", "/mlflow/model-versions/transition-stage", stage(bad, "Staging"), 409, "FAILED_REGISTRATION")
	run := w.run(t, "mia", model)
	w.ask(t, "mia", "POST", "/mlflow/model-versions/create", fmt.Sprintf(`{"name":"fraud","source":"runs:/%s/model"}`, run), 200, pending)
	w.ask(t, "mia", "GET", "/mlflow-artifacts/artifacts/models/fraud/3/MLmodel", "", 409, "pending")
	if _, err := w.cfg.Registry.Quarantine(t.Context(), ray, "local", registry.Ref{Model: "fraud", Version: 1}, "odd"); err != nil {
		t.Fatal(err)
	}
	w.ask(t, "mia", "GET", "/mlflow-artifacts/artifacts/models/fraud/1/MLmodel", "", 403, "quarantine")
	w.ask(t, "mia", "GET", "/mlflow/model-versions/get?name=fraud&version=1", "", 200, `"current_stage":"Archived"`)
}

// TestSigned has a model whose versions are ready once signed, and refuses a signature by
// somebody whom nobody believes.
func TestSigned(t *testing.T) {
	w := newWorld(t)
	w.ask(t, "mia", "POST", "/mlflow/registered-models/create", `{"name":"fraud","tags":[{"key":"pavise.risk","value":"low"},{"key":"pavise.signed","value":"true"}]}`, 200)
	version := w.register(t, model)
	w.ask(t, "mia", "GET", "/mlflow/model-versions/get?name=fraud&version="+version, "", 200, pending, "signature")
	w.ask(t, "pat", "POST", "/mlflow/model-versions/transition-stage", stage(version, "Staging"), 409, "signature")
	run := w.run(t, "mia", map[string]string{"model/MLmodel": "x", "model/model.sig": `{}`})
	w.ask(t, "mia", "POST", "/mlflow/model-versions/create", fmt.Sprintf(`{"name":"fraud","source":"runs:/%s/model"}`, run), 400, "believes")
}

// TestRiskStays refuses a tag that says another risk than the model was made with.
func TestRiskStays(t *testing.T) {
	w := newWorld(t)
	w.ask(t, "mia", "POST", "/mlflow/registered-models/create", `{"name":"fraud","tags":[{"key":"pavise.risk","value":"high"}]}`, 200)
	tag := `{"name":"fraud","key":"pavise.risk","value":"%s"}`
	w.ask(t, "mia", "POST", "/mlflow/registered-models/set-tag", fmt.Sprintf(tag, "low"), 403, "stays as it was created")
	w.ask(t, "mia", "DELETE", "/mlflow/registered-models/delete-tag", `{"name":"fraud","key":"pavise.risk"}`, 403)
	w.ask(t, "mia", "POST", "/mlflow/registered-models/set-tag", fmt.Sprintf(tag, "high"), 200)
	w.ask(t, "mia", "GET", "/mlflow/registered-models/get?name=fraud", "", 200, `"value":"high"`)
}

// TestApprovals opens one change for what is asked again and again, and another once the first
// came to nothing.
func TestApprovals(t *testing.T) {
	w := newWorld(t)
	version := w.register(t, model)
	ask := func(status int, words ...string) {
		t.Helper()
		w.ask(t, "pat", "POST", "/mlflow/registered-models/alias", `{"name":"fraud","alias":"champion","version":"`+version+`"}`, status, words...)
	}
	ask(403, "awaits review")
	ask(403, "awaits review")
	w.review(t, version)
	ask(403, "change c-1 awaits approval: https://pavise.test/changes#c-1")
	ask(403, "c-1")
	w.all[pavise.Name{Tenant: "local", Kind: "change", ID: "c-1"}].State = "denied"
	ask(403, "c-2")
	w.approve(t)
	ask(403, "c-3")
	w.approve(t)
	ask(200)
	w.ask(t, "mia", "GET", "/mlflow/registered-models/alias?name=fraud&alias=champion", "", 200, `"version":"1"`)
	w.ask(t, "dan", "GET", "/mlflow-artifacts/artifacts/models/fraud/1/MLmodel", "", 200)
	w.ask(t, "mia", "POST", "/mlflow/registered-models/alias", `{"name":"fraud","alias":"other","version":"1"}`, 403, "PERMISSION_DENIED")
	for _, alias := range []string{"", "latest", "Latest", "v1", "V12", "a b", "a/b", strings.Repeat("a", 256)} {
		w.ask(t, "pat", "POST", "/mlflow/registered-models/alias", fmt.Sprintf(`{"name":"fraud","alias":%q,"version":"1"}`, alias), 400)
	}
	w.ask(t, "pat", "DELETE", "/mlflow/registered-models/alias", `{"name":"fraud","alias":"never"}`, 200)
	if len(w.all) != 3 {
		t.Errorf("%d changes were proposed", len(w.all))
	}
}

// TestStages brings versions from stage to stage, and nowhere where nothing leads.
func TestStages(t *testing.T) {
	w := newWorld(t)
	one, two := w.register(t, model), w.register(t, map[string]string{"model/MLmodel": "two"})
	move := func(version, to string, status int, words ...string) {
		t.Helper()
		w.ask(t, "pat", "POST", "/mlflow/model-versions/transition-stage", stage(version, to), status, words...)
	}
	move(one, "None", 200)
	move(one, "Live", 400, "no stage")
	w.ask(t, "pat", "POST", "/mlflow/model-versions/transition-stage", `{"name":"fraud","version":"1","stage":"Staging"}`, 400, "archive_existing_versions")
	move(two, "Staging", 403, "review")
	move(two, "Archived", 200, `"current_stage":"Archived"`) // rejected, while it is proposed
	move(two, "Staging", 409, "rejected")
	move(one, "Production", 403, "review")
	w.review(t, one)
	move(one, "Production", 403, "c-1")
	w.approve(t)
	move(one, "None", 409, "published")
	move(one, "Production", 403, "c-2")
	w.approve(t)
	move(one, "production", 200, `"current_stage":"Production"`)
	move(one, "Archived", 409, "alias")
	move(one, "Staging", 403, "c-3")
	w.approve(t)
	move(one, "Staging", 200, `"current_stage":"Staging"`)
	if err := w.cfg.Registry.Moved(t.Context(), "local", registry.Ref{Model: "fraud", Version: 1}, registry.Live, "deployed"); err != nil {
		t.Fatal(err)
	}
	move(one, "Production", 200)
	move(one, "Staging", 409, "answers requests")
	move(one, "Archived", 409)
}

// TestSources registers what lies below the directories of the installation, and nothing else.
func TestSources(t *testing.T) {
	w := newWorld(t)
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(w.dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil {
			err = os.WriteFile(path, []byte(content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("fraud/MLmodel", "flavors: {}\n")
	write("fraud/data/w.json", "{}")
	write("linked/MLmodel", "x")
	write("piped/MLmodel", "x")
	if err := errors.Join(os.MkdirAll(filepath.Join(w.dir, "empty"), 0o700), os.Symlink("/etc/passwd", filepath.Join(w.dir, "linked/passwd")), syscall.Mkfifo(filepath.Join(w.dir, "piped/pipe"), 0o600), os.Symlink("/etc", filepath.Join(w.dir, "etc"))); err != nil {
		t.Fatal(err)
	}
	w.ask(t, "mia", "POST", "/mlflow/registered-models/create", `{"name":"fraud"}`, 200)
	version := 0
	from := func(source string, want ...string) {
		t.Helper()
		w.ask(t, "mia", "POST", "/mlflow/model-versions/create", fmt.Sprintf(`{"name":"fraud","source":%q}`, source), 200, pending, "fetched")
		w.files.Wait()
		version++
		if ref := (registry.Ref{Model: "fraud", Version: version}); len(want) == 1 {
			w.look(t, "fraud", fmt.Sprint(ref.Version))
		}
		w.ask(t, "mia", "GET", fmt.Sprintf("/mlflow/model-versions/get?name=fraud&version=%d", version), "", 200, want...)
	}
	from("file://"+w.dir+"/fraud", ready)
	w.ask(t, "mia", "GET", "/mlflow-artifacts/artifacts/models/fraud/1/data/w.json", "", 200, "{}")
	from(w.dir+"/fraud/data/../", ready)
	from(w.dir+"/fraud/MLmodel", ready)
	w.ask(t, "mia", "GET", "/mlflow-artifacts/artifacts/models/fraud/3/MLmodel", "", 200, "flavors")
	from("file://"+w.dir+"/linked", failed, "neither a file nor a directory")
	from("file://"+w.dir+"/piped", failed, "neither a file nor a directory")
	from("file://"+w.dir+"/etc/passwd", failed, "cannot be read")
	from("file://"+w.dir+"/etc", failed, "cannot be read")
	from("file://"+w.dir+"/empty", failed, "no files")
	from("file://"+w.dir+"/nowhere", failed, "cannot be read")
	run, other := w.run(t, "mia", model), w.run(t, "moe", model)
	for source, says := range map[string]string{
		"file:///etc": "below no directory", "/etc/passwd": "below no directory", "file://" + w.dir + "/../x": "below no directory", "file://" + w.dir + "x": "below no directory",
		"file://host" + w.dir + "/fraud": "none that is known", "s3://bucket/x": "none that is known", "http://x/y": "none that is known", "fraud": "none that is known", "mlflow-artifacts://host/runs/x": "none that is known",
		"runs:/" + run + "/../" + other: "names no artifacts", "runs:/" + run + "/nothing": "has no files", "runs:/x/model": "names no artifacts", "models:/fraud/Production": "names no artifacts", "models:/m-1": "names no artifacts",
		"runs:/" + strings.Repeat("0", 31) + "f/model": "no run", "models:/fraud/4": "pending", "models:/other/1": "no version", "": "no source", "dbfs:/x": "none that is known",
	} {
		answer := w.send("mia", "POST", "/api/2.0/mlflow/model-versions/create", fmt.Sprintf(`{"name":"fraud","source":%q}`, source))
		if answer.Code == 200 || !strings.Contains(answer.Body.String(), says) {
			t.Errorf("%s: %d %s; it should say %q", source, answer.Code, answer.Body, says)
		}
	}
	w.ask(t, "mia", "POST", "/mlflow/model-versions/create", fmt.Sprintf(`{"name":"fraud","source":"runs:/%s/model","run_id":%q}`, run, other), 400, "another run")
	w.ask(t, "mia", "POST", "/mlflow/model-versions/create", fmt.Sprintf(`{"name":"fraud","source":"runs:/%s/model","model_id":"m-1"}`, run), 400, "logged model")
	w.ask(t, "mia", "POST", "/mlflow/model-versions/create", fmt.Sprintf(`{"name":"nobody","source":"runs:/%s/model"}`, run), 404)
}

// TestLooksAtOnce has the files of a version be looked at without anybody asking for it.
func TestLooksAtOnce(t *testing.T) {
	w := newWorld(t)
	w.Server.look = w.lookNow
	if err := os.WriteFile(filepath.Join(w.dir, "MLmodel"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := w.run(t, "mia", model)
	w.ask(t, "mia", "POST", "/mlflow/registered-models/create", `{"name":"fraud"}`, 200)
	for i, source := range []string{"runs:/" + run + "/model", "file://" + w.dir} {
		w.ask(t, "mia", "POST", "/mlflow/model-versions/create", fmt.Sprintf(`{"name":"fraud","source":%q}`, source), 200, pending)
		w.files.Wait()
		w.ask(t, "mia", "GET", fmt.Sprintf("/mlflow/model-versions/get?name=fraud&version=%d", i+1), "", 200, `"status":"READY"`)
	}
}

// TestInterrupted stops the server while the files of a version are fetched: it has failed, and
// does not wait for ever.
func TestInterrupted(t *testing.T) {
	w := newWorld(t)
	version := w.register(t, model)
	if err := w.note(t.Context(), "local", registry.Ref{Model: "fraud", Version: 1}, extra{coming: true}); err != nil {
		t.Fatal(err)
	}
	w.open(t)
	w.ask(t, "mia", "GET", "/mlflow/model-versions/get?name=fraud&version="+version, "", 200, failed, "register it again")
}

// TestArtifacts puts, lists, gets, replaces and deletes artifacts of runs.
func TestArtifacts(t *testing.T) {
	w := newWorld(t)
	run := w.run(t, "mia", map[string]string{"a": "1", "d/b": "22", "d/e/c": "333", "d-x": "4", "empty": ""})
	at := "/mlflow-artifacts/artifacts/runs/" + run
	w.ask(t, "mia", "GET", "/mlflow-artifacts/artifacts?path=runs/"+run, "", 200, `"path":"a"`, `"path":"d","is_dir":true`, `"path":"d-x"`)
	if text := w.ask(t, "moe", "GET", "/mlflow-artifacts/artifacts?path=runs/"+run+"/d", "", 200, `"path":"b"`, `"path":"e","is_dir":true`); strings.Contains(text, `"a"`) || strings.Contains(text, "333") {
		t.Errorf("more than what is below it: %s", text)
	}
	w.ask(t, "mia", "GET", "/mlflow-artifacts/artifacts?path=runs/"+run+"/a", "", 200, "{}")
	if got := w.ask(t, "moe", "GET", at+"/d/e/c", "", 200); got != "333" {
		t.Errorf("%q", got)
	}
	w.ask(t, "mia", "GET", at+"/empty", "", 200)
	w.ask(t, "mia", "PUT", at+"/a", "11", 200)
	if got := w.ask(t, "mia", "GET", at+"/a", "", 200); got != "11" {
		t.Errorf("%q", got)
	}
	w.ask(t, "mia", "PUT", at+"/a/b", "x", 409, "file and a directory")
	w.ask(t, "mia", "PUT", at+"/d", "x", 409, "file and a directory")
	w.ask(t, "moe", "PUT", at+"/a", "evil", 403, "somebody else")
	w.ask(t, "moe", "DELETE", at+"/a", "", 403, "somebody else")
	w.ask(t, "nil", "GET", at+"/a", "", 403)
	w.ask(t, "mia", "GET", at+"/d", "", 404)
	w.ask(t, "mia", "DELETE", at+"/nothing", "", 404)
	w.ask(t, "mia", "DELETE", at+"/d", "", 200)
	w.ask(t, "mia", "GET", at+"/d/b", "", 404)
	w.ask(t, "mia", "GET", at+"/d-x", "", 200)
	w.ask(t, "mia", "POST", at+"/a", "", 400)
	w.ask(t, "mia", "PUT", "/mlflow-artifacts/artifacts/models/fraud/1/x", "", 403, "stand")
	for _, path := range []string{"", "runs", "runs/x/y", "runs/" + run + "/a//b", "runs/" + run + "/../../x", "runs/" + run + "/./a", "runs/" + run + "/" + strings.Repeat("x", maxPath+1), "models/fraud/x", "models/../fraud/1", "other/x", "runs/" + run + "/a\x00b"} {
		answer := w.send("mia", "PUT", "/api/2.0/mlflow-artifacts/artifacts/"+url.PathEscape(path), "x")
		if answer.Code != 400 {
			t.Errorf("%q: %d %s", path, answer.Code, answer.Body)
		}
	}
	w.ask(t, "mia", "PUT", "/mlflow-artifacts/artifacts/runs/"+strings.Repeat("0", 31)+"f/x", "x", 404)
}

// TestUploadsThatEnd has an artifact break off, and one be too long for the quota: nothing of
// them is there, and a client is told so that it does not try for ever.
func TestUploadsThatEnd(t *testing.T) {
	w := newWorld(t)
	run := w.run(t, "mia", nil)
	path := "/api/2.0/mlflow-artifacts/artifacts/runs/" + run + "/big"
	r := httptest.NewRequest("PUT", path, iotest.TimeoutReader(bytes.NewReader(make([]byte, 200_000))))
	r.Header.Set("Test-Who", "mia")
	answer := httptest.NewRecorder()
	if w.door.ServeHTTP(answer, r); answer.Code != 400 || !strings.Contains(answer.Body.String(), "broke off") {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
	if answer := w.send("mia", "PUT", path, strings.Repeat("x", quota+1)); answer.Code != http.StatusInsufficientStorage || !strings.Contains(answer.Body.String(), "RESOURCE_EXHAUSTED") {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
	w.ask(t, "mia", "GET", "/mlflow-artifacts/artifacts?path=runs/"+run, "", 200, "{}")
	if used, _ := w.cfg.Depot.Used(); used != 0 {
		t.Errorf("%d bytes are left", used)
	}
}

// TestAlteredDepot alters what lies in the depot: the answer breaks off, and its end never
// comes.
func TestAlteredDepot(t *testing.T) {
	w := newWorld(t)
	run := w.run(t, "mia", map[string]string{"a": strings.Repeat("weights ", 20_000)})
	err := filepath.WalkDir(w.kept, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err == nil {
			text[len(text)-1] ^= 1
			err = os.WriteFile(path, text, 0o600)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(w.door)
	defer server.Close()
	r, _ := http.NewRequest("GET", server.URL+"/api/2.0/mlflow-artifacts/artifacts/runs/"+run+"/a", nil)
	r.Header.Set("Test-Who", "mia")
	answer, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var got bytes.Buffer
	if _, err := got.ReadFrom(answer.Body); err == nil || got.Len() >= 160_000 {
		t.Errorf("%d bytes came, and %v", got.Len(), err)
	}
}

// TestOneOfManyLoads bounds what one caller sends at once, and lets the others in.
func TestOneOfManyLoads(t *testing.T) {
	w := newWorld(t)
	var all []func()
	for range maxLoads {
		done, err := w.load(mia)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, done)
	}
	if _, err := w.load(mia); pavise.KindOf(err) != pavise.Throttled {
		t.Errorf("one too many: %v", err)
	}
	if done, err := w.load(moe); err != nil {
		t.Errorf("another: %v", err)
	} else {
		done()
	}
	for _, done := range all {
		done()
	}
	if len(w.loads) > 0 {
		t.Errorf("%v are counted", w.loads)
	}
}

// TestPages goes through a search page by page, and holds a token to its search.
func TestPages(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		w.ask(t, "mia", "POST", "/mlflow/registered-models/create", fmt.Sprintf(`{"name":"m%d"}`, i), 200)
	}
	var names []string
	for next, n := "", 0; n == 0 || next != ""; n++ {
		var a modelsAnswer
		text := w.ask(t, "mia", "GET", "/mlflow/registered-models/search?max_results=2&order_by=name+DESC&page_token="+next, "", 200)
		if err := json.Unmarshal([]byte(text), &a); err != nil || n > 3 {
			t.Fatal(n, err)
		}
		for _, m := range a.Models {
			names = append(names, m.Name)
		}
		if next = a.Next; next != "" {
			w.ask(t, "mia", "GET", "/mlflow/registered-models/search?max_results=2&page_token="+next, "", 400, "page_token")
		}
	}
	if strings.Join(names, " ") != "m4 m3 m2 m1 m0" {
		t.Errorf("%q", names)
	}
}

// TestDeletedFilesGo has the files of a version that was deleted be let go, and those of
// another with the same files stay.
func TestDeletedFilesGo(t *testing.T) {
	w := newWorld(t)
	w.register(t, model)
	w.register(t, model)
	w.ask(t, "mia", "POST", "/mlflow/registered-models/delete", `{}`, 404)
	for _, version := range []string{"1", "2"} {
		w.ask(t, "pat", "DELETE", "/mlflow/model-versions/delete", `{"name":"fraud","version":"`+version+`"}`, 403, "awaits approval")
		w.approve(t)
		w.ask(t, "pat", "DELETE", "/mlflow/model-versions/delete", `{"name":"fraud","version":"`+version+`"}`, 200)
		w.ask(t, "mia", "GET", "/mlflow-artifacts/artifacts?path=models/fraud/"+version, "", 404)
	}
	for run := 1; run <= 2; run++ {
		w.ask(t, "mia", "DELETE", fmt.Sprintf("/mlflow-artifacts/artifacts/runs/%032x/model", run), "", 200)
	}
	w.hour.Add(100_000)
	if gone, err := w.cfg.Depot.Sweep(t.Context()); gone != 2 || err != nil {
		t.Errorf("%d contents went, %v", gone, err)
	}
}

// TestFilesStay deletes a run's artifacts, from which a version was registered that stays.
func TestFilesStay(t *testing.T) {
	w := newWorld(t)
	version := w.register(t, model)
	w.ask(t, "mia", "DELETE", fmt.Sprintf("/mlflow-artifacts/artifacts/runs/%032x/model", 1), "", 200)
	w.hour.Add(100_000)
	if gone, err := w.cfg.Depot.Sweep(t.Context()); gone != 0 || err != nil {
		t.Errorf("%d contents went, %v", gone, err)
	}
	w.ask(t, "mia", "GET", "/mlflow-artifacts/artifacts/models/fraud/"+version+"/MLmodel", "", 200)
}

// TestManyAtOnce registers versions from many sides: each has a number of its own.
func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	run := w.run(t, "mia", model)
	w.ask(t, "mia", "POST", "/mlflow/registered-models/create", `{"name":"fraud"}`, 200)
	var all sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]bool{}
	for range 8 {
		all.Go(func() {
			answer := w.send("mia", "POST", "/api/2.0/mlflow/model-versions/create", fmt.Sprintf(`{"name":"fraud","source":"runs:/%s/model"}`, run))
			var made versionAnswer
			if err := json.Unmarshal(answer.Body.Bytes(), &made); err != nil || answer.Code != 200 {
				t.Errorf("%d %s", answer.Code, answer.Body)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[made.Version.Version] = true
		})
	}
	if all.Wait(); len(seen) != 8 {
		t.Errorf("the versions are %v", seen)
	}
}
