// ctlog is a certificate transparency log that promises and keeps nothing: it answers add-chain and add-pre-chain
// (RFC 6962 §4.1, §4.2) with a real signed certificate timestamp, and has no tree.
package main

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	stdx509 "crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	"github.com/google/certificate-transparency-go/x509"
)

type signer struct {
	key *ecdsa.PrivateKey
	id  [sha256.Size]byte
}

func main() {
	addr := flag.String("addr", "127.0.0.1:6962", "where to listen")
	file := flag.String("key", "", "the log's P-256 key, PEM (PKCS #8)")
	flag.Parse()
	s, err := load(*file)
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("POST /ct/v1/add-chain", s.add(ct.X509LogEntryType))
	http.HandleFunc("POST /ct/v1/add-pre-chain", s.add(ct.PrecertLogEntryType))
	http.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	log.Fatal(http.ListenAndServe(*addr, nil))
}

func load(file string) (*signer, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s is not PEM", file)
	}
	parsed, err := stdx509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is not an EC key", file)
	}
	spki, err := stdx509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return &signer{key, sha256.Sum256(spki)}, nil
}

func (s *signer) add(kind ct.LogEntryType) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var request ct.AddChainRequest
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer, err := s.promise(kind, request.Chain)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			log.Print(err)
		}
	}
}

// promise signs the timestamp over the leaf that the chain (leaf first, DER) would have in the tree.
func (s *signer) promise(kind ct.LogEntryType, ders [][]byte) (*ct.AddChainResponse, error) {
	var chain []*x509.Certificate
	for _, der := range ders {
		certificate, err := x509.ParseCertificate(der)
		// The poison extension of a precertificate is an error that this parser does not call fatal.
		if x509.IsFatal(err) {
			return nil, err
		}
		chain = append(chain, certificate)
	}
	now := uint64(time.Now().UnixMilli())
	leaf, err := ct.MerkleTreeLeafFromChain(chain, kind, now)
	if err != nil {
		return nil, err
	}
	sct := ct.SignedCertificateTimestamp{SCTVersion: ct.V1, LogID: ct.LogID{KeyID: s.id}, Timestamp: now}
	input, err := ct.SerializeSCTSignatureInput(sct, ct.LogEntry{Leaf: *leaf})
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(input)
	signature, err := ecdsa.SignASN1(rand.Reader, s.key, hash[:])
	if err != nil {
		return nil, err
	}
	algorithm := tls.SignatureAndHashAlgorithm{Hash: tls.SHA256, Signature: tls.ECDSA}
	signed, err := tls.Marshal(ct.DigitallySigned{Algorithm: algorithm, Signature: signature})
	if err != nil {
		return nil, err
	}
	return &ct.AddChainResponse{SCTVersion: ct.V1, ID: s.id[:], Timestamp: now, Signature: signed}, nil
}
