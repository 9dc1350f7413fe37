package role

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// TestSpellingsOfModelPaths asks for what model servers have in other spellings of its paths.
// All go to the data plane, which refuses them with a record; a multiplexer would send the
// caller on to the plain spelling, and nobody would hear of it. What is of the control plane,
// of registries and of browsers stays where it is.
func TestSpellingsOfModelPaths(t *testing.T) {
	at := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("At", name) })
	}
	door := modelsFirst(at("models"), at("others"))
	for path, want := range map[string]string{
		"/v2/models/m/infer": "models", "//v2/models/m/infer": "models", "/v2//models/m/infer": "models", "/./v2/models/m/infer": "models", "/x/../v2/models/m/infer": "models",
		"/metrics": "models", "//metrics": "models", "/metrics/": "models", "/./metrics": "models", "/v2/../metrics": "models", "/x/..//v2/repository/index": "models",
		"//v1/chat/completions": "models", "//inference.GRPCInferenceService//ModelInfer": "models", "//invocations": "models",
		"/": "others", "//": "others", "//login": "others", "/records/": "others", "/v1/route.put": "others", "//v1/route.put": "others",
		"/v2/": "others", "//api/2.0/mlflow/experiments/search": "others", "/v2/local/m/manifests/latest": "others",
	} {
		w := httptest.NewRecorder()
		method := http.MethodPost
		if strings.Contains(path, "metrics") {
			method = http.MethodGet
		}
		door.ServeHTTP(w, &http.Request{Method: method, URL: &url.URL{Path: path}})
		if got := w.Header().Get("At"); got != want {
			t.Errorf("%s goes to the %s, want %s", path, got, want)
		}
	}
}
