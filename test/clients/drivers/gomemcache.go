// gomemcache as an application's cache: gomemcache.go HOST PORT PREFIX NAME
//
// It keeps in mind what it wrote, and compares every answer with that. Runs until stdin ends, then prints what it
// counted as JSON.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

const life = 3600

// Of the CAS numbers so many may be refused, because the authority moved.
const moves = 3

type summary struct {
	Client      string  `json:"client"`
	Operations  int     `json:"operations"`
	Failures    int     `json:"failures"`
	First       *string `json:"first"`
	Incremented int     `json:"incremented"`
	Guarded     int     `json:"guarded"`
	LoggedIn    int     `json:"loggedIn"`
}

var (
	cache   *memcache.Client
	prefix  string
	name    string
	counted = summary{Client: "gomemcache"}
	values  = map[string][]byte{}
	round   int
	number  = -1
	moved   int
)

func wrong(what string) {
	counted.Failures++
	if counted.First == nil {
		first := fmt.Sprintf("round %d: %s", round, what)
		counted.First = &first
	}
}

func same(what string, got, expected interface{}) {
	counted.Operations++
	if got != expected {
		wrong(fmt.Sprintf("%s: %v instead of %v", what, got, expected))
	}
}

func sameValue(what string, item *memcache.Item, err error, key string) {
	counted.Operations++
	expected, known := values[key]
	if err == memcache.ErrCacheMiss {
		if known {
			wrong(what + ": nothing instead of a value")
		}
	} else if err != nil {
		wrong(what + ": " + err.Error())
	} else if !known {
		wrong(what + ": a value instead of nothing")
	} else if !bytes.Equal(item.Value, expected) {
		wrong(fmt.Sprintf("%s: %d bytes instead of %d", what, len(item.Value), len(expected)))
	} else if item.Flags != flagsOf(expected) {
		wrong(fmt.Sprintf("%s: flags %d", what, item.Flags))
	}
}

// Whether it was done; other errors than the refusal that is expected are differences.
func done(what string, err error, refusal error) bool {
	if err != nil && err != refusal {
		wrong(what + ": " + err.Error())
	}
	return err == nil
}

// Any bytes, none among them, and a line end to trip over.
func fresh() []byte {
	sizes := []int{0, 1, 20, 500, 5000}
	value := make([]byte, sizes[rand.Intn(len(sizes))])
	rand.Read(value)
	if rand.Intn(2) == 0 {
		value = append(value, "\r\nEND\r\n"...)
	}
	return value
}

func flagsOf(value []byte) uint32 {
	return uint32(len(value)) * 1000003
}

func itemOf(key string, value []byte) *memcache.Item {
	return &memcache.Item{Key: key, Value: value, Flags: flagsOf(value), Expiration: life}
}

func swap(key string, value []byte) {
	item, err := cache.Get(key)
	sameValue("get with a CAS number", item, err, key)
	if err != nil {
		return
	}
	stale := *item
	change := func() error {
		item.Value, item.Flags, item.Expiration = value, flagsOf(value), life
		return cache.CompareAndSwap(item)
	}
	swapped := done("cas", change(), memcache.ErrCASConflict)
	if !swapped && moved < moves {
		// The authority moved between the two: the change is refused, and a new number has to be asked for.
		moved++
		item, err = cache.Get(key)
		sameValue("get after a refused cas", item, err, key)
		if err != nil {
			return
		}
		swapped = done("cas", change(), memcache.ErrCASConflict)
	}
	same("cas", swapped, true)
	values[key] = value
	same("stale cas", done("stale cas", cache.CompareAndSwap(&stale), memcache.ErrCASConflict), false)
}

func guard() {
	lock, what := prefix+"shared.lock", prefix+"shared.guarded"
	err := cache.Add(&memcache.Item{Key: lock, Value: []byte(name), Expiration: 60})
	if !done("lock", err, memcache.ErrNotStored) {
		return
	}
	item, err := cache.Get(what)
	if err != nil {
		wrong("what the lock guards: " + err.Error())
		return
	}
	before, _ := strconv.Atoi(string(item.Value))
	time.Sleep(time.Millisecond)
	done("guarded", cache.Set(&memcache.Item{Key: what, Value: []byte(strconv.Itoa(before + 1))}), nil)
	counted.Guarded++
	same("unlock", done("unlock", cache.Delete(lock), nil), true)
}

func play() {
	key := fmt.Sprintf("%s%s-%d", prefix, name, rand.Intn(8))
	_, known := values[key]
	value := fresh()
	switch rand.Intn(12) {
	case 0, 1:
		same("set", done("set", cache.Set(itemOf(key, value)), nil), true)
		values[key] = value
	case 2, 3:
		item, err := cache.Get(key)
		sameValue("get", item, err, key)
	case 4:
		same("add", done("add", cache.Add(itemOf(key, value)), memcache.ErrNotStored), !known)
		if !known {
			values[key] = value
		}
	case 5:
		same("replace", done("replace", cache.Replace(itemOf(key, value)), memcache.ErrNotStored), known)
		if known {
			values[key] = value
		}
	case 6:
		same("delete", done("delete", cache.Delete(key), memcache.ErrCacheMiss), known)
		delete(values, key)
	case 7:
		same("touch", done("touch", cache.Touch(key, 2*life), memcache.ErrCacheMiss), known)
	case 8:
		keys := []string{}
		for n := 0; n < 8; n++ {
			keys = append(keys, fmt.Sprintf("%s%s-%d", prefix, name, n))
		}
		found, err := cache.GetMulti(keys)
		if done("GetMulti", err, nil) {
			same("how many of GetMulti", len(found), len(values))
			for _, each := range keys {
				item, there := found[each]
				miss := memcache.ErrCacheMiss
				if there {
					miss = nil
				}
				sameValue("GetMulti", item, miss, each)
			}
		}
	case 9:
		swap(key, value)
	case 10:
		own := prefix + name + "-number"
		if number < 0 {
			number = 100
			done("number", cache.Set(&memcache.Item{Key: own, Value: []byte("100")}), nil)
		}
		got, _ := cache.Increment(own, 7)
		number += 7
		same("incr", got, uint64(number))
		got, _ = cache.Decrement(own, 3)
		number -= 3
		same("decr", got, uint64(number))
		if _, err := cache.Increment(prefix+"shared.counter", 1); err != nil {
			wrong("a shared counter is gone")
		} else {
			counted.Incremented++
		}
		aside := []byte(strconv.Itoa(round))
		done("aside", cache.Set(&memcache.Item{Key: "aside-" + name, Value: aside}), nil)
		item, err := cache.Get("aside-" + name)
		same("get aside", err == nil && bytes.Equal(item.Value, aside), true)
	default:
		guard()
	}
}

func main() {
	rand.Seed(time.Now().UnixNano())
	prefix, name = os.Args[3], os.Args[4]
	cache = memcache.New(os.Args[1] + ":" + os.Args[2])
	cache.Timeout = 20 * time.Second
	for _, what := range []string{"counter", "guarded"} {
		done(what, cache.Add(&memcache.Item{Key: prefix + "shared." + what, Value: []byte("0")}), memcache.ErrNotStored)
	}
	var ended int32
	go func() {
		io.Copy(io.Discard, os.Stdin)
		atomic.StoreInt32(&ended, 1)
	}()
	going := false
	for atomic.LoadInt32(&ended) == 0 {
		round++
		if counted.Operations >= 20 && !going {
			going = true
			fmt.Println("going")
		}
		time.Sleep(5 * time.Millisecond)
		play()
	}
	counted.LoggedIn = len(values)
	json.NewEncoder(os.Stdout).Encode(counted)
}
