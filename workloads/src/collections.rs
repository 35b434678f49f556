//! Vectors, maps, shared strings and channels; a panic that is caught; an aligned block.
use std::alloc::{alloc_zeroed, dealloc, realloc, Layout};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{mpsc, Arc, Mutex};
use std::thread;

fn tables(seed: usize) -> usize {
    let mut map: HashMap<String, Vec<usize>> = HashMap::new();
    for i in 0..40_000 {
        map.entry(format!("key{}", i * seed % 1009)).or_default().push(i);
    }
    map.retain(|key, _| key.len() != 5);
    let sorted: BTreeMap<_, _> = map.into_iter().collect();
    sorted.iter().map(|(key, list)| key.len() * list.len() + list[0]).sum()
}

fn hand_over() -> usize {
    let (sender, receiver) = mpsc::channel::<Box<[u8]>>();
    let seen = Arc::new(Mutex::new(VecDeque::new()));
    let threads: Vec<_> = (0..4usize)
        .map(|number| {
            let sender = sender.clone();
            let seen = Arc::clone(&seen);
            thread::spawn(move || {
                for i in 0..20_000usize {
                    sender.send(vec![number as u8; i * 13 % 900].into_boxed_slice()).unwrap();
                    if i % 1000 == 0 {
                        seen.lock().unwrap().push_back(Arc::new(format!("{number}:{i}")));
                    }
                }
                tables(number + 3)
            })
        })
        .collect();
    drop(sender);
    let sum = |block: Box<[u8]>| block.iter().map(|byte| *byte as usize).sum::<usize>();
    let bytes: usize = receiver.iter().map(sum).sum();
    let tables: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
    let mut names: Vec<_> = seen.lock().unwrap().drain(..).collect();
    names.sort();
    println!("{} {}", names.len(), names[17]);
    bytes + tables
}

fn aligned() -> bool {
    let mut good = true;
    for shift in 0..16 {
        let layout = Layout::from_size_align(5000, 1 << shift).unwrap();
        unsafe {
            let block = alloc_zeroed(layout);
            good &= block as usize % (1 << shift) == 0 && *block.add(4999) == 0;
            *block.add(4999) = 7;
            let block = realloc(block, layout, 70_000);
            good &= block as usize % (1 << shift) == 0 && *block.add(4999) == 7;
            dealloc(block, Layout::from_size_align(70_000, 1 << shift).unwrap());
        }
    }
    good
}

fn main() {
    println!("{}", tables(7919));
    println!("{}", hand_over());
    println!("aligned {}", aligned());
    std::panic::set_hook(Box::new(|_| {}));
    let caught = thread::spawn(|| {
        let list: Vec<String> = (0..100).map(|i| "x".repeat(i)).collect();
        list[list.len()].len()
    });
    println!("panic caught {}", caught.join().is_err());
    let refused = Vec::<u8>::new().try_reserve(isize::MAX as usize - 4096).is_err();
    println!("refused {refused}");
}
