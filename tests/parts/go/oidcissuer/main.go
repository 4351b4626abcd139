// oidcissuer is any number of OpenID Connect issuers at one address. The issuer http://ADDR/NAME has a discovery
// document, a key set and POST /NAME/token, which signs the claims in the request body (a JSON object) as they are:
// iss is set, aud, iat and exp are filled in where they are missing.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"log"
	"net/http"
	"time"
)

const keyID = "1"

type issuers struct {
	addr string
	key  *ecdsa.PrivateKey
}

func main() {
	addr := flag.String("addr", "127.0.0.1:5557", "where to listen")
	flag.Parse()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	all := issuers{*addr, key}
	http.HandleFunc("GET /{name}/.well-known/openid-configuration", all.discovery)
	http.HandleFunc("GET /{name}/jwks", all.keys)
	http.HandleFunc("POST /{name}/token", all.token)
	http.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	log.Fatal(http.ListenAndServe(*addr, nil))
}

func (i issuers) name(r *http.Request) string {
	return "http://" + i.addr + "/" + r.PathValue("name")
}

func (i issuers) discovery(w http.ResponseWriter, r *http.Request) {
	answer(w, map[string]any{
		"issuer":                                i.name(r),
		"jwks_uri":                              i.name(r) + "/jwks",
		"authorization_endpoint":                i.name(r) + "/auth",
		"token_endpoint":                        i.name(r) + "/token",
		"response_types_supported":              []string{"id_token"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"ES256"},
	})
}

func (i issuers) keys(w http.ResponseWriter, _ *http.Request) {
	// An uncompressed point: 4, x, y.
	point, err := i.key.PublicKey.Bytes()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, map[string]any{"keys": []any{map[string]string{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": keyID,
		"x": encoded(point[1:33]), "y": encoded(point[33:]),
	}}})
}

func (i issuers) token(w http.ResponseWriter, r *http.Request) {
	now := time.Now().Unix()
	claims := map[string]any{"aud": "sigstore", "iat": now, "exp": now + 3600}
	if err := json.NewDecoder(r.Body).Decode(&claims); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	claims["iss"] = i.name(r)
	body, err := json.Marshal(claims)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	signed := encoded([]byte(`{"alg":"ES256","kid":"`+keyID+`","typ":"JWT"}`)) + "." + encoded(body)
	hash := sha256.Sum256([]byte(signed))
	r1, s1, err := ecdsa.Sign(rand.Reader, i.key, hash[:])
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	signature := append(r1.FillBytes(make([]byte, 32)), s1.FillBytes(make([]byte, 32))...)
	// No newline: the answer is used as a header's value.
	if _, err := w.Write([]byte(signed + "." + encoded(signature))); err != nil {
		log.Print(err)
	}
}

func encoded(bytes []byte) string {
	return base64.RawURLEncoding.EncodeToString(bytes)
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(value); err != nil {
		log.Print(err)
	}
}
