# Python that waits in a template and becomes the job (docs/warm-start.md, "Preloaded interpreters").
# Started as `python3 -c THIS MODULE... REQUEST ANSWER`; the last two are descriptors.
def wait_for_job():
    import importlib, importlib.machinery, io, os, runpy, signal, stat, struct, sys

    request, answer = int(sys.argv[-2]), int(sys.argv[-1])
    modules = sys.argv[1:-2]
    began_with = dict(os.environb)
    path = sys.path[1:]
    try:
        sys.path[:] = path  # not the working directory
        for module in modules:
            importlib.import_module(module)
        import ctypes
        prctl = ctypes.CDLL(None).prctl
    except BaseException as error:
        os.write(answer, f"{type(error).__name__}: {error}".encode(errors="replace")[:300])
        os._exit(1)
    os.write(answer, b"r")

    # Nothing is buffered here: what is read is what this program asks for.
    def take(length):
        taken = b""
        while len(taken) < length:
            piece = os.read(request, length - len(taken))
            if not piece:
                os._exit(0)
            taken += piece
        return taken

    rest = b""

    def string():
        nonlocal rest
        while b"\0" not in rest:
            piece = os.read(request, 65536)
            if not piece:
                os._exit(0)
            rest += piece
        one, rest = rest.split(b"\0", 1)
        return one

    uid, gid, umask, group_count, argument_count, variable_count = struct.unpack("=6I", take(24))
    groups = struct.unpack(f"={group_count}I", take(4 * group_count))
    folder = string()
    arguments = [string() for _ in range(argument_count)]
    variables = dict(string().split(b"=", 1) for _ in range(variable_count))

    # What programs and libraries read when they start must be what it was then.
    early = (b"PYTHON", b"LC_", b"LANG", b"LD_", b"GLIBC_", b"MALLOC_", b"TZ", b"OMP_", b"GOMP_", b"KMP_",
             b"OPENBLAS_", b"GOTO_", b"MKL_", b"BLIS_", b"FLEXIBLAS", b"NPY_", b"NUMEXPR_", b"SSL_", b"OPENSSL_")

    def read_early(environment):
        return {name: value for name, value in environment.items() if name.startswith(early)}

    words = arguments[1:]
    how = words[0] if words else b"-"
    if how in (b"-c", b"-m"):
        able = len(words) > 1
    else:
        able = not how.startswith(b"-") and not how.endswith(b".pyc")
    able = able and read_early(variables) == read_early(began_with)
    site = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    able = able and not os.path.isdir(os.path.join(variables.get(b"HOME", b"/root"), b".local", site.encode()))
    if not able:
        os._exit(0)
    try:
        os.setgroups(groups)
        os.setgid(gid)
        os.setuid(uid)
        os.umask(umask)
        os.chdir(folder)
        prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE, as after an exec: the job may open its own /proc/self
        source = b""
        if how not in (b"-c", b"-m"):
            with open(how, "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    os._exit(0)
                source = file.read()
            if source.startswith(b"PK"):
                os._exit(0)
    except OSError:
        os._exit(0)
    os.environ.clear()
    os.environb.update(variables)

    # Every copy of the template has the same state of every generator up to here.
    loaded = sys.modules
    if "random" in loaded:
        loaded["random"].seed()
    if "numpy.random" in loaded:
        loaded["numpy.random"].seed()
    if "ssl" in loaded:
        loaded["ssl"].RAND_add(os.urandom(64), 64.0)
    if "multiprocessing.process" in loaded:
        process = loaded["multiprocessing.process"]
        process.current_process().authkey = os.urandom(32)

    sys.orig_argv = [os.fsdecode(word) for word in arguments]
    main = loaded["__main__"].__dict__
    for name in ("wait_for_job", "job"):
        main.pop(name, None)
    tail = [os.fsdecode(word) for word in words[2 if how in (b"-c", b"-m") else 1:]]
    if how == b"-c":
        sys.argv = ["-c", *tail]
        sys.path.insert(0, "")
        name = "<string>"
        source = words[1] + b"\n"
    elif how == b"-m":
        sys.argv = ["-m", *tail]
        sys.path.insert(0, os.getcwd())
    else:
        script = os.fsdecode(how)
        sys.argv = [script, *tail]
        sys.path.insert(0, os.path.dirname(os.path.realpath(script)))
        name = os.path.join(os.getcwd(), script)
        main["__file__"] = name
        main["__cached__"] = None
        main["__loader__"] = importlib.machinery.SourceFileLoader("__main__", name)
        name = script

    os.write(answer, b"y")
    take(1)
    os.close(request)
    os.close(answer)

    def run():
        if how == b"-m":
            runpy._run_module_as_main(os.fsdecode(words[1]))
        else:
            exec(compile(source, name, "exec", dont_inherit=True), main)

    def job():
        try:
            run()
        except SystemExit:
            raise
        except BaseException as error:
            # Without the lines of this program.
            where = error.__traceback__
            while where is not None and where.tb_frame.f_code in (job.__code__, run.__code__):
                where = where.tb_next
            sys.excepthook(type(error), error.with_traceback(where), where)
            if isinstance(error, KeyboardInterrupt):
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                os.kill(os.getpid(), signal.SIGINT)
            sys.exit(1)

    return job


job = wait_for_job()
(lambda job: job())(globals().pop("job", job))
