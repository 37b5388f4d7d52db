// Interop reads a log that SafeRouter wrote, or writes one for SafeRouter to read, with Go's own libraries.
package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	flog "github.com/transparency-dev/formats/log"
	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/formats/witness"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const oldSize, newSize, index = 300, 700, 271

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: interop check|make|submit FOLDER")
	}
	folder := folder(os.Args[2])
	switch os.Args[1] {
	case "make":
		folder.makeLog()
	case "submit":
		folder.submitLog()
	default:
		folder.checkLog()
	}
}

type folder string

func (f folder) read(name string) []byte {
	raw, err := os.ReadFile(filepath.Join(string(f), name))
	must(err)
	return raw
}

func (f folder) write(name string, raw []byte) {
	must(os.WriteFile(filepath.Join(string(f), name), raw, 0o600))
}

// checkLog demands that every object of the folder verifies.
func (f folder) checkLog() {
	logKey, err := note.NewVerifier(string(f.read("log.vkey")))
	must(err)
	witnessKey, err := fnote.NewVerifierForCosignatureV1(string(f.read("witness.vkey")))
	must(err)
	raw := f.read("checkpoint")
	checkpoint, _, signed, err := flog.ParseCheckpoint(raw, logKey.Name(), logKey, witnessKey)
	must(err)
	if len(signed.Sigs) != 2 {
		log.Fatalf("%d good signatures, want 2", len(signed.Sigs))
	}
	policy, err := witness.ParsePolicy(f.read("policy"))
	must(err)
	if !policy.Satisfied(raw) {
		log.Fatal("the witness policy is not satisfied")
	}
	tree := tlog.Tree{N: int64(checkpoint.Size), Hash: tlog.Hash(checkpoint.Hash)}

	var leafProof proof.TLogProof
	must(leafProof.Unmarshal(f.read("proof")))
	hashes := tlog.RecordProof{}
	for _, hash := range leafProof.Hashes {
		hashes = append(hashes, tlog.Hash(hash))
	}
	must(tlog.CheckRecord(hashes, tree.N, tree.Hash, int64(leafProof.Index), tlog.RecordHash(f.read("leaf"))))

	lines := strings.Fields(string(f.read("consistency")))
	old, err := strconv.ParseInt(lines[0], 10, 64)
	must(err)
	treeProof := tlog.TreeProof{}
	for _, line := range lines[2:] {
		treeProof = append(treeProof, parseHash(line))
	}
	must(tlog.CheckTree(treeProof, tree.N, tree.Hash, old, parseHash(lines[1])))

	reader := tlog.TileHashReader(tree, tiles{f})
	indexes := []int64{}
	for n := range tree.N {
		indexes = append(indexes, tlog.StoredHashIndex(0, n))
	}
	found, err := reader.ReadHashes(indexes)
	must(err)
	// ReadHashes lets some full tiles pass unchecked where several subtrees share a tile: build the tree again.
	again := storage{}
	for n, hash := range found {
		must(again.add(int64(n), hash))
	}
	root, err := tlog.TreeHash(tree.N, again.reader())
	must(err)
	if root != tree.Hash {
		log.Fatal("the tiles are not those of the checkpoint")
	}
	fmt.Printf("%d leaves, all in tiles\n", len(found))
}

type storage struct{ hashes []tlog.Hash }

func (s *storage) reader() tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := []tlog.Hash{}
		for _, at := range indexes {
			found = append(found, s.hashes[at])
		}
		return found, nil
	})
}

func (s *storage) add(n int64, leafHash tlog.Hash) error {
	hashes, err := tlog.StoredHashesForRecordHash(n, leafHash, s.reader())
	s.hashes = append(s.hashes, hashes...)
	return err
}

type tiles struct{ folder }

func (tiles) Height() int { return 8 }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	found := [][]byte{}
	for _, tile := range wanted {
		// C2SP leaves out the height.
		found = append(found, t.read("tile/"+strings.TrimPrefix(tile.Path(), "tile/8/")))
	}
	return found, nil
}

func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// makeLog writes a log, its cosigned checkpoint and its proofs.
func (f folder) makeLog() {
	stored := storage{}
	leaf := func(n int64) []byte { return fmt.Appendf(nil, "go leaf %d", n) }
	for n := range int64(newSize) {
		must(stored.add(n, tlog.RecordHash(leaf(n))))
	}
	reader := stored.reader()
	root, err := tlog.TreeHash(newSize, reader)
	must(err)
	oldRoot, err := tlog.TreeHash(oldSize, reader)
	must(err)

	secret, public, err := note.GenerateKey(rand.Reader, "go.example/log")
	must(err)
	signer, err := note.NewSigner(secret)
	must(err)
	witnessSecret, witnessPublic, err := note.GenerateKey(rand.Reader, "go.example/witness")
	must(err)
	cosigner, err := fnote.NewSignerForCosignatureV1(witnessSecret)
	must(err)
	cosignerPublic, err := fnote.VKeyToCosignatureV1(witnessPublic)
	must(err)
	text := flog.Checkpoint{Origin: "go.example/log", Size: newSize, Hash: root[:]}.Marshal()
	checkpoint, err := note.Sign(&note.Note{Text: string(text)}, signer, cosigner)
	must(err)

	recordProof, err := tlog.ProveRecord(newSize, index, reader)
	must(err)
	leafProof := proof.TLogProof{Index: index, Checkpoint: checkpoint}
	for _, hash := range recordProof {
		leafProof.Hashes = append(leafProof.Hashes, hash)
	}
	treeProof, err := tlog.ProveTree(newSize, oldSize, reader)
	must(err)
	lines := []string{strconv.Itoa(oldSize), base64.StdEncoding.EncodeToString(oldRoot[:])}
	for _, hash := range treeProof {
		lines = append(lines, base64.StdEncoding.EncodeToString(hash[:]))
	}
	f.write("log.vkey", []byte(public))
	f.write("witness.vkey", []byte(cosignerPublic))
	f.write("checkpoint", checkpoint)
	f.write("leaf", leaf(index))
	f.write("proof", leafProof.Marshal())
	f.write("consistency", []byte(strings.Join(lines, "\n")))
}

// submitLog has the witness of the file `witness` cosign a log that grows, and verifies its every word.
func (f folder) submitLog() {
	signer, err := note.NewSigner(string(f.read("log.key")))
	must(err)
	witnessKey, err := fnote.NewVerifierForCosignatureV1(string(f.read("witness.vkey")))
	must(err)
	stored, old := storage{}, int64(0)
	for _, size := range []int64{1, 2, 255, 256, 257, newSize, newSize} {
		for n := old; n < size; n++ {
			must(stored.add(n, tlog.RecordHash(fmt.Appendf(nil, "go leaf %d", n))))
		}
		root, err := tlog.TreeHash(size, stored.reader())
		must(err)
		text := flog.Checkpoint{Origin: signer.Name(), Size: uint64(size), Hash: root[:]}.Marshal()
		checkpoint, err := note.Sign(&note.Note{Text: string(text)}, signer)
		must(err)
		body := fmt.Sprintf("old %d\n", old)
		if old > 0 && old < size {
			proof, err := tlog.ProveTree(size, old, stored.reader())
			must(err)
			for _, hash := range proof {
				body += hash.String() + "\n"
			}
		}
		answer, err := http.Post(string(f.read("witness"))+"/add-checkpoint", "", strings.NewReader(body+"\n"+string(checkpoint)))
		must(err)
		lines, err := io.ReadAll(answer.Body)
		must(err)
		if answer.StatusCode != http.StatusOK {
			log.Fatalf("size %d: %s: %s", size, answer.Status, lines)
		}
		_, err = note.Open(append(checkpoint, lines...), note.VerifierList(witnessKey))
		must(err)
		old = size
	}
	fmt.Printf("%d leaves, cosigned\n", old)
}

func parseHash(text string) tlog.Hash {
	raw, err := base64.StdEncoding.DecodeString(text)
	must(err)
	return tlog.Hash(raw)
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
