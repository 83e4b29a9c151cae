//! ELF files that were made to do harm: each is an error, or tells less; none takes long or much.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::fixtures::{Machine, Workshop, compiler};
use goblin::elf::Elf;
use goblin::elf::dynamic::{
    DT_HASH, DT_NEEDED, DT_STRSZ, DT_STRTAB, DT_SYMTAB, DT_VERDEF, DT_VERDEFNUM, DT_VERNEED, DT_VERNEEDNUM,
};
use goblin::elf::program_header::{PT_DYNAMIC, PT_INTERP, PT_LOAD, PT_NOTE};
use hpcvm::elf::bytes::{FileId, Source};
use hpcvm::elf::closure::Closure;
use hpcvm::elf::families::uses;
use hpcvm::elf::file_system::FolderFiles;
use hpcvm::elf::loader::{Loader, Settings};
use hpcvm::elf::object::{Fault, Object};
use hpcvm::elf::symbols::Symbols;

/// An ELF file of which single numbers are changed.
struct Victim {
    bytes: Vec<u8>,
    wide: bool,
}

impl Victim {
    fn put(&mut self, at: u64, size: usize, value: u64) {
        let at = usize::try_from(at).unwrap();
        self.bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
    }

    fn word(&self) -> usize {
        if self.wide { 8 } else { 4 }
    }

    fn elf(&self) -> Elf<'_> {
        Elf::parse(&self.bytes).unwrap()
    }

    /// A field of the file header, by its places in 32 and 64 bits.
    fn header(&mut self, places: (u64, u64), size: usize, value: u64) {
        self.put(if self.wide { places.1 } else { places.0 }, size, value);
    }

    /// `p_offset` and `p_filesz` of every segment of a type.
    fn segments(&mut self, wanted: u32, offset: Option<u64>, size: Option<u64>) {
        let elf = self.elf();
        let entry = if self.wide { 56 } else { 32 };
        let (start, headers) = (elf.header.e_phoff, elf.program_headers.clone());
        let word = self.word();
        let places = if self.wide { (8, 32) } else { (4, 16) };
        for (index, header) in headers.iter().enumerate().filter(|(_, header)| header.p_type == wanted) {
            let at = start + entry * index as u64;
            assert_eq!(header.p_type, wanted);
            for (place, value) in [(places.0, offset), (places.1, size)] {
                if let Some(value) = value {
                    self.put(at + place, word, value);
                }
            }
        }
    }

    /// The value of all dynamic entries with a tag.
    fn dynamic(&mut self, tag: u64, value: u64) {
        let elf = self.elf();
        let segment = elf.program_headers.iter().find(|header| header.p_type == PT_DYNAMIC);
        let start = segment.unwrap().p_offset;
        let entries = elf.dynamic.as_ref().unwrap().dyns.clone();
        let word = self.word();
        let mut found = false;
        for (index, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.d_tag == tag) {
            assert_eq!(entry.d_tag, tag);
            self.put(start + (2 * index as u64 + 1) * word as u64, word, value);
            found = true;
        }
        assert!(found, "no entry {tag:#x}");
    }

    /// Where the table is that a dynamic entry names.
    fn table(&self, tag: u64) -> u64 {
        let elf = self.elf();
        let entries = &elf.dynamic.as_ref().unwrap().dyns;
        let address = entries.iter().find(|entry| entry.d_tag == tag).unwrap().d_val;
        let mut loads = elf.program_headers.iter().filter(|header| header.p_type == PT_LOAD);
        let load = loads.find(|load| (load.p_vaddr..load.p_vaddr + load.p_filesz).contains(&address));
        load.map(|load| address - load.p_vaddr + load.p_offset).unwrap()
    }

    /// Takes the section table away, which knows the number of symbols.
    fn without_sections(&mut self) {
        self.header((0x30, 0x3c), 2, 0);
    }
}

/// What becomes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It cannot be loaded.
    Refused,
    /// Its symbols cannot be read; ld.so would fail later than at its headers.
    NoSymbols,
    /// The loader would not notice either.
    Read,
}

const FAR: u64 = 0x7fff_ff00;
const HUGE: u64 = u64::MAX;

type Harm = (&'static str, Fate, fn(&mut Victim));

const HARMS: &[Harm] = &[
    ("65,535 segments", Fate::Refused, |v| v.header((0x2c, 0x38), 2, 0xffff)),
    ("segments beyond the end", Fate::Refused, |v| {
        let word = v.word();
        v.header((0x1c, 0x20), word, FAR);
    }),
    ("segments at the last address", Fate::Refused, |v| {
        let word = v.word();
        v.header((0x1c, 0x20), word, HUGE);
    }),
    ("segments of one byte", Fate::Refused, |v| v.header((0x2a, 0x36), 2, 1)),
    ("65,535 sections beyond the end", Fate::Read, |v| {
        v.header((0x30, 0x3c), 2, 0xffff);
    }),
    ("no such class", Fate::Refused, |v| v.put(4, 1, 9)),
    ("an odd byte order", Fate::Refused, |v| v.put(5, 1, 9)),
    ("a dynamic section beyond the end", Fate::Refused, |v| {
        v.segments(PT_DYNAMIC, Some(FAR), None);
    }),
    ("a dynamic section without an end", Fate::Refused, |v| {
        v.segments(PT_DYNAMIC, None, Some(HUGE));
    }),
    ("a loader's name beyond the end", Fate::Refused, |v| {
        v.segments(PT_INTERP, Some(FAR), None);
    }),
    ("a loader's name that does not end", Fate::Refused, |v| {
        v.segments(PT_INTERP, None, Some(3));
    }),
    ("gigabytes of notes", Fate::Read, |v| {
        v.segments(PT_NOTE, Some(0), Some(HUGE));
    }),
    ("notes that begin anywhere", Fate::Read, |v| {
        v.segments(PT_NOTE, Some(1), Some(FAR));
    }),
    ("segments that end beyond all addresses", Fate::Refused, |v| {
        v.segments(PT_LOAD, Some(HUGE - 16), Some(HUGE));
    }),
    ("segments that overlap", Fate::Refused, |v| {
        v.segments(PT_LOAD, Some(0), Some(0x10));
    }),
    ("a string table that never ends", Fate::NoSymbols, |v| {
        v.dynamic(DT_STRSZ, HUGE);
    }),
    ("an empty string table", Fate::Refused, |v| v.dynamic(DT_STRSZ, 0)),
    ("a string table outside", Fate::Refused, |v| v.dynamic(DT_STRTAB, FAR)),
    ("a needed name outside", Fate::Refused, |v| v.dynamic(DT_NEEDED, FAR)),
    ("symbols outside", Fate::Read, |v| v.dynamic(DT_SYMTAB, FAR)),
    ("four billion symbols", Fate::NoSymbols, |v| {
        let chains = v.table(DT_HASH) + 4;
        v.put(chains, 4, 0xffff_ffff);
        v.without_sections();
    }),
    ("a million symbols that are not there", Fate::NoSymbols, |v| {
        let chains = v.table(DT_HASH) + 4;
        v.put(chains, 4, 1_000_000);
        v.without_sections();
    }),
    ("versions outside", Fate::Refused, |v| v.dynamic(DT_VERNEED, FAR)),
    ("endless needed versions", Fate::Refused, |v| {
        v.dynamic(DT_VERNEEDNUM, HUGE);
    }),
    ("endless defined versions", Fate::Refused, |v| {
        v.dynamic(DT_VERDEFNUM, HUGE);
    }),
    ("a needed version after itself", Fate::Refused, |v| {
        v.dynamic(DT_VERNEEDNUM, 0xffff);
        let table = v.table(DT_VERNEED);
        // vn_cnt, vn_next.
        v.put(table + 2, 2, 0xffff);
        v.put(table + 12, 4, 1);
    }),
    ("a defined version far away", Fate::Refused, |v| {
        v.dynamic(DT_VERDEFNUM, 0xffff);
        let table = v.table(DT_VERDEF);
        v.put(table + 16, 4, 0x7fff_ffff);
    }),
    ("a version's name outside", Fate::Refused, |v| {
        let table = v.table(DT_VERNEED);
        v.put(table + 4, 4, 0x7fff_ffff);
    }),
];

/// A program that has everything in it, of each class.
fn victim(machine: Machine) -> Vec<u8> {
    let workshop = Workshop::new();
    let map = workshop.path("map");
    fs::write(&map, "V1 { global: one; local: *; }; V2 { global: two; } V1;").unwrap();
    let script = format!("-Wl,--version-script={}", map.display());
    let code = "void one(void) {} void two(void) {}";
    let library = workshop.source(machine, "libv.so", code, &["-shared", "-Wl,-soname,libv.so", &script]);
    let code = "void one(void); void two(void); void own(void) { one(); two(); } __asm__(\".symver own, own@@V1\");";
    let flags = [
        "-shared",
        "-Wl,--hash-style=both",
        "-Wl,-soname,liba.so",
        &script,
        "-Wl,--dynamic-linker=/lib/ld.so",
        library.to_str().unwrap(),
    ];
    let interpreter = "__attribute__((section(\".interp\"), used)) static const char i[] = \"/lib/ld.so\";";
    let path = workshop.source(machine, "liba.so", &format!("{interpreter}{code}"), &flags);
    fs::read(path).unwrap()
}

/// Nothing that is read of a small file takes longer, even where much else runs.
const LONGEST: Duration = Duration::from_secs(5);

#[test]
fn harm_is_refused_in_no_time() {
    if !compiler() {
        return;
    }
    for machine in [Machine::I386, Machine::Amd64] {
        let sound = victim(machine);
        let source = |bytes: &[u8]| Source::memory(FileId::Path("/x".into()), bytes.into());
        assert!(Object::read(&source(&sound)).is_ok() && Symbols::read(&source(&sound)).is_ok());
        for (name, fate, harm) in HARMS {
            let mut victim = Victim {
                bytes: sound.clone(),
                wide: machine == Machine::Amd64,
            };
            harm(&mut victim);
            let source = source(&victim.bytes);
            let begun = Instant::now();
            let found = match (Object::read(&source), Symbols::read(&source)) {
                (Err(fault), _) => {
                    assert!(matches!(fault, Fault::Damaged(_)), "{name}: {fault:?}");
                    Fate::Refused
                }
                (Ok(_), Err(_)) => Fate::NoSymbols,
                (Ok(_), Ok(_)) => Fate::Read,
            };
            assert_eq!(found, *fate, "{machine:?}: {name}");
            assert!(begun.elapsed() < LONGEST, "{name}: {:?}", begun.elapsed());
        }
    }
}

#[test]
fn search_paths_do_not_grow_without_end() {
    if !compiler() {
        return;
    }
    let workshop = Workshop::new();
    let parts = [
        "$ORIGIN".repeat(5000),
        vec!["$ORIGIN"; 5000].join(":"),
        vec!["$ORIGIN/$ORIGIN/.."; 3000].join(":"),
    ];
    let needs: Vec<String> = (0..40).map(|index| format!("libnone{index}.so")).collect();
    let needs: Vec<&str> = needs.iter().map(|need| &**need).chain(["liba.so"]).collect();
    for part in parts {
        // ld reads its longest arguments from a file.
        let file = workshop.path("flags");
        fs::write(
            &file,
            format!("-Wl,--disable-new-dtags -Wl,-rpath,{}", part.replace('$', "\\$")),
        )
        .unwrap();
        let flags = format!("@{}", file.display());
        workshop.program(Machine::I386, "bin/program", &needs, &[&flags]);
        workshop.library(Machine::I386, "bin/liba.so", &["liba.so", "libb.so"], &[&flags]);
        let files = FolderFiles::new(&workshop.root);
        let loader = Loader::new(&files, Settings::default());
        let begun = Instant::now();
        let closure = Closure::of(&loader, Path::new("/bin/program")).unwrap();
        assert!(closure.misses().count() >= 40);
        assert!(begun.elapsed() < LONGEST, "{:?}", begun.elapsed());
    }
}

#[test]
fn circles_end() {
    if !compiler() {
        return;
    }
    let workshop = Workshop::new();
    let flags = ["-Wl,-rpath,$ORIGIN/loop:$ORIGIN/self/self/self:$ORIGIN"];
    workshop.program(Machine::I386, "bin/program", &["liba.so", "libloop.so"], &flags);
    workshop.library(Machine::I386, "bin/liba.so", &["libb.so", "liba.so", "program"], &flags);
    workshop.library(
        Machine::I386,
        "bin/libb.so",
        &["liba.so", "libb.so", "libself.so"],
        &flags,
    );
    for (target, link) in [
        ("loop", "loop"),
        (".", "self"),
        ("libloop.so", "libloop.so"),
        ("libb.so", "libself.so"),
    ] {
        std::os::unix::fs::symlink(target, workshop.path("bin").join(link)).unwrap();
    }
    for (file, text) in [
        ("etc/ld.so.conf", "include /etc/ld.so.conf\n/bin/self\n"),
        ("etc/nsswitch.conf", "passwd: ../../bin/liba program\n"),
        ("etc/pam.d/x", "@include x\nauth include x\n"),
    ] {
        let path = workshop.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let files = FolderFiles::new(&workshop.root);
    let loader = Loader::new(&files, Settings::default());
    let closure = Closure::of(&loader, Path::new("/bin/program")).unwrap();
    let misses: Vec<String> = closure
        .misses()
        .map(|(edge, _)| edge.name.display().to_string())
        .collect();
    assert_eq!(misses, ["/lib/ld-linux.so.2", "libloop.so"]);
    // Through whatever path: the program, its two libraries.
    assert_eq!(closure.objects.len(), 3);
    assert!(uses(&loader, &closure).is_empty());
}
