// Package globals knows what it means that a pickle of Python imports a name: that it is what
// models are made of, that it acts on the machine that loads it, or that nobody has vetted it.
// It owns the lists, and no state.
package globals

import (
	"strings"
	"sync"
)

// A Meaning is what importing a name means.
type Meaning int

// The meanings.
const (
	Known   Meaning = iota // what models are made of
	Unknown                // nobody has vetted it
	Acts                   // it acts on the machine
)

// Renamed is the name that Python 3 has for a module of Python 2: pickles before protocol 3
// are read that way (Lib/_compat_pickle.py).
func Renamed(module string) string {
	if now, ok := renames[module]; ok {
		return now
	}
	return module
}

var renames = map[string]string{
	"__builtin__": "builtins", "copy_reg": "copyreg", "cPickle": "pickle", "commands": "subprocess",
	"Queue": "queue", "StringIO": "io", "cStringIO": "io", "urllib2": "urllib.request", "thread": "_thread",
	"exceptions": "builtins", "itertools": "builtins", "UserDict": "collections", "httplib": "http.client",
	"os2emxpath": "posixpath", "SocketServer": "socketserver", "repr": "reprlib", "_winreg": "winreg",
	"numpy._core": "numpy.core",
}

// callers are known globals that call, load or make what they are given.
var callers = map[string]bool{
	"torch._tensor._rebuild_from_type_v2": true, "torch.storage._load_from_bytes": true, "copyreg._reconstructor": true,
	"copyreg.__newobj__": true, "copyreg.__newobj_ex__": true, "builtins.type": true, "joblib.numpy_pickle.NumpyArrayWrapper": true,
}

// Calls says whether a global, by its full name, is known and calls, loads or makes what it is
// given: it is to be judged by that, and nothing else may get hold of it.
func Calls(full string) bool { return callers[full] }

// makers are known classes whose constructors read the file, or ask the address, that they are given.
// Pickles that are honest make them by their __new__, and put a state into them.
var makers = map[string]bool{
	"xgboost.core.Booster": true, "xgboost.core.DMatrix": true, "lightgbm.basic.Booster": true, "lightgbm.basic.Dataset": true,
	"transformers.training_args.TrainingArguments": true, "accelerate.state.PartialState": true,
}

// Makes says whether a class, by its full name, acts on the machine when it is called.
func Makes(full string) bool { return makers[full] }

// RunKey is what SciPy's distributions have in their state that they run as Python when they are
// made again.
const RunKey = "_parse_arg_template"

// RunsState says whether a class, by its full name, does so.
func RunsState(full string) bool { return strings.HasPrefix(full, "scipy.stats.") }

// IsParser says whether what stands under RunKey is what SciPy writes there: three functions that
// hand on the names of a distribution's shapes (scipy.stats._distn_infrastructure).
func IsParser(text string) bool {
	const head = "\ndef _parse_args(self, "
	for _, place := range [][2]string{{" loc=0, scale=1", " loc, scale"}, {" loc=0", " loc, 1"}} {
		rest, ok := strings.CutPrefix(text, head)
		shapes, _, found := strings.Cut(rest, place[0]+"):")
		if !ok || !found || strings.ContainsFunc(shapes, func(r rune) bool { return !strings.ContainsRune(shapeLetters, r) }) {
			continue
		}
		if text == head+shapes+place[0]+"):\n    return ("+shapes+"),"+place[1]+
			"\n\ndef _parse_args_rvs(self, "+shapes+place[0]+", size=None):\n    return self._argcheck_rvs("+shapes+place[1]+
			", size=size)\n\ndef _parse_args_stats(self, "+shapes+place[0]+", moments='mv'):\n    return ("+shapes+"),"+place[1]+", moments\n" {
			return true
		}
	}
	return false
}

// shapeLetters are those of names, and what parts them.
const shapeLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_, "

// IsName says whether a text can be the full name of something in a module, as texts that are
// no pickles hardly are.
func IsName(s string) bool {
	for _, c := range s {
		if c != '.' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return len(s) > 2
}

// Judge says what importing module.name means, and why where it is not known.
func Judge(module, name string) (Meaning, string) {
	if strings.HasPrefix(module, "numpy._core") { // of NumPy 2
		module = "numpy.core" + strings.TrimPrefix(module, "numpy._core")
	}
	if module == "__torch__" || strings.HasPrefix(module, "__torch__.") {
		return Known, "" // TorchScript's name for what stands in the archive itself; there is no such module
	}
	lists := lists()
	if lists.known[module+":"+name] || lists.classes.holds(module) && isClass(name) && !lists.guests[name] {
		return Known, ""
	}
	full := module + "." + name
	for segments := full; segments != ""; { // the thing itself, or any module that it is in
		if why, ok := lists.dangerous[segments]; ok {
			return Acts, why
		}
		segments = segments[:max(strings.LastIndex(segments, "."), 0)]
	}
	for part := range strings.SplitSeq(full, ".") { // the same module by way of another that imports it
		if lists.anywhere[part] {
			return Acts, "which reaches " + part + " by way of another module"
		}
		if strings.HasPrefix(part, "__") && strings.HasSuffix(part, "__") && part != "__main__" {
			return Acts, "an inner part of Python by which everything else is reached"
		}
	}
	switch {
	case module == "__main__":
		return Unknown, "which only the script that wrote it has: what stands there when it is loaded is called"
	case strings.Contains(name, "."):
		return Unknown, "a part of a part of a module, which models need not"
	}
	return Unknown, "which is on no list of what models are made of"
}

// isClass goes by how classes are named. Making one of a framework's classes runs its own
// constructor at most; its functions are called by their names, and are listed one by one.
func isClass(name string) bool {
	return name != "" && ('A' <= name[0] && name[0] <= 'Z' || name[0] == '_' && len(name) > 1 && 'A' <= name[1] && name[1] <= 'Z') &&
		!strings.Contains(name, ".")
}

// A prefixes set holds modules with all that are in them.
type prefixes []string

func (p prefixes) holds(module string) bool {
	for _, prefix := range p {
		if module == prefix || strings.HasPrefix(module, prefix+".") {
			return true
		}
	}
	return false
}

// globalLists are the lists as they are asked.
type globalLists struct {
	known     map[string]bool   // "module:name"
	classes   prefixes          // modules whose classes are all known
	dangerous map[string]string // module, or module.name, to what it does
	guests    map[string]bool   // what such modules import from elsewhere
	anywhere  map[string]bool   // wherever it stands in a name
}

var lists = sync.OnceValue(func() *globalLists {
	l := &globalLists{known: map[string]bool{}, dangerous: map[string]string{}, guests: map[string]bool{}, anywhere: map[string]bool{}}
	for line := range strings.Lines(knownGlobals) {
		module, names, _ := strings.Cut(strings.TrimSpace(line), ": ")
		for name := range strings.FieldsSeq(names) {
			l.known[module+":"+name] = true
		}
	}
	l.classes = strings.Fields(knownClasses)
	for line := range strings.Lines(dangerousGlobals) {
		why, names, _ := strings.Cut(strings.TrimSpace(line), ": ")
		for name := range strings.FieldsSeq(names) {
			l.dangerous[name] = why
		}
	}
	for name := range strings.FieldsSeq(guestClasses) {
		l.guests[name] = true
	}
	for name := range strings.FieldsSeq(anywhere) {
		l.anywhere[name] = true
	}
	return l
})

// knownGlobals are what pickles of models name, module by module. Each constructs data and
// does nothing else, whatever it is given; what loads, evaluates or imports is not here, but for
// the callers, which are judged by what they are given.
const knownGlobals = `
builtins: set frozenset list dict tuple int float complex bytearray bytes str bool object slice range type NoneType Ellipsis NotImplemented long unicode xrange
builtins: Exception ValueError TypeError KeyError IndexError RuntimeError
copyreg: _reconstructor __newobj__ __newobj_ex__
_codecs: encode
collections: OrderedDict defaultdict Counter deque ChainMap UserDict UserList
datetime: datetime date time timedelta timezone tzinfo
decimal: Decimal
fractions: Fraction
uuid: UUID SafeUUID
array: array _array_reconstructor
pathlib: Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath
functools: partial
operator: itemgetter add sub mul truediv neg
random: Random
math: exp log sqrt
re: _compile
argparse: Namespace
types: SimpleNamespace
zoneinfo: ZoneInfo ZoneInfo._unpickle
pytz: _UTC _p utc
numpy: dtype ndarray generic bool bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 longdouble complex64 complex128 str_ bytes_ void object_ datetime64 timedelta64 recarray record intc intp matrix float_ int_
numpy: vectorize log log1p exp expm1 sqrt square abs absolute sin cos tanh identity sum mean
numpy.core.multiarray: _reconstruct scalar
numpy.core.numeric: _frombuffer
numpy.core.numerictypes: bool_
numpy.dtypes: Float64DType Float32DType Int64DType Int32DType BoolDType ObjectDType StrDType UInt8DType
numpy.ma.core: _mareconstruct MaskedArray
numpy.core.records: recarray record
numpy.core: multiarray
numpy.random: RandomState
numpy.random._pickle: __randomstate_ctor __generator_ctor __bit_generator_ctor
numpy.random._mt19937: MT19937
numpy.random._pcg64: PCG64
numpy.random.bit_generator: SeedSequence __pyx_unpickle_SeedSequence
numpy.ma: MaskedArray masked_array
numpy.random._bit_generator: SeedSequence
scipy.sparse._csr: csr_matrix csr_array
scipy.sparse._csc: csc_matrix csc_array
scipy.sparse._coo: coo_matrix coo_array
scipy.sparse._lil: lil_matrix
scipy.sparse._dok: dok_matrix
scipy.sparse.csr: csr_matrix
scipy.sparse.csc: csc_matrix
scipy.sparse.coo: coo_matrix
scipy.stats._distn_infrastructure: rv_continuous_frozen rv_discrete_frozen
scipy.stats._continuous_distns: uniform_gen norm_gen expon_gen loguniform_gen reciprocal_gen
scipy.special._ufuncs: expit logit
scipy.stats._continuous_distns: gamma_gen beta_gen expon_gen lognorm_gen truncnorm_gen halfnorm_gen chi2_gen t_gen weibull_min_gen pareto_gen triang_gen loguniform_gen
scipy.stats._discrete_distns: randint_gen poisson_gen binom_gen geom_gen nbinom_gen bernoulli_gen hypergeom_gen zipf_gen logser_gen
scipy.interpolate._bsplines: BSpline
scipy.interpolate._cubic: CubicSpline PchipInterpolator Akima1DInterpolator CubicHermiteSpline
scipy.interpolate._interpolate: PPoly BPoly interp1d
scipy._lib.array_api_compat.numpy._aliases: asarray
scipy.spatial._ckdtree: cKDTree
scipy.spatial._kdtree: KDTree
scipy.sparse._bsr: bsr_matrix bsr_array
scipy.sparse._dia: dia_matrix dia_array
sklearn.metrics._ranking: roc_auc_score average_precision_score top_k_accuracy_score dcg_score ndcg_score label_ranking_average_precision_score label_ranking_loss coverage_error roc_curve precision_recall_curve auc
sklearn.metrics._classification: accuracy_score balanced_accuracy_score f1_score fbeta_score precision_score recall_score jaccard_score matthews_corrcoef cohen_kappa_score log_loss brier_score_loss hamming_loss zero_one_loss hinge_loss confusion_matrix class_likelihood_ratios d2_log_loss_score
sklearn.metrics._regression: r2_score explained_variance_score max_error mean_absolute_error mean_squared_error root_mean_squared_error mean_squared_log_error root_mean_squared_log_error median_absolute_error mean_absolute_percentage_error mean_pinball_loss mean_poisson_deviance mean_gamma_deviance mean_tweedie_deviance d2_absolute_error_score d2_pinball_score d2_tweedie_score
sklearn.metrics.cluster._supervised: adjusted_rand_score rand_score mutual_info_score adjusted_mutual_info_score normalized_mutual_info_score homogeneity_score completeness_score v_measure_score fowlkes_mallows_score
sklearn.metrics.cluster._unsupervised: silhouette_score calinski_harabasz_score davies_bouldin_score
sklearn.utils._metadata_requests: MetadataRequest MethodMetadataRequest
sklearn.neighbors._kd_tree: newObj
sklearn.neighbors._ball_tree: newObj
sklearn.metrics._dist_metrics: newObj
sklearn.feature_selection._univariate_selection: f_classif f_regression chi2
sklearn.tree._tree: Tree
sklearn.utils._bunch: Bunch
sklearn.utils: Bunch
sklearn.utils.deprecation: DeprecationDict
sklearn.utils._tags: Tags TargetTags InputTags ClassifierTags RegressorTags TransformerTags
sklearn.utils.validation: _DataFrameWrapper
sklearn._loss._loss: __pyx_unpickle_CyHalfSquaredError __pyx_unpickle_CyHalfBinomialLoss __pyx_unpickle_CyHalfMultinomialLoss __pyx_unpickle_CyLossFunction
sklearn._loss.link: __pyx_unpickle_Interval
joblib.numpy_pickle: NumpyArrayWrapper
pandas: CategoricalIndex PeriodDtype DatetimeTZDtype IntervalDtype PeriodIndex TimedeltaIndex IntervalIndex Period
pandas: DataFrame Series Index RangeIndex MultiIndex DatetimeIndex Timestamp Timedelta Categorical CategoricalDtype StringDtype Interval Int64Dtype Float64Dtype BooleanDtype
pandas.arrays: ArrowStringArray ArrowExtensionArray StringArray DatetimeArray TimedeltaArray IntegerArray FloatingArray BooleanArray NumpyExtensionArray SparseArray IntervalArray PeriodArray
pyarrow.lib: _restore_array type_for_alias py_buffer
pandas.core.frame: DataFrame
pandas.core.series: Series
pandas.core.internals.managers: BlockManager SingleBlockManager
pandas.core.internals.blocks: new_block
pandas._libs.internals: _unpickle_block BlockPlacement
pandas.core.indexes.base: _new_Index Index
pandas.core.indexes.range: RangeIndex
pandas.core.indexes.multi: MultiIndex
pandas.core.indexes.datetimes: _new_DatetimeIndex DatetimeIndex
pandas.core.indexes.numeric: Int64Index Float64Index
pandas.core.arrays.categorical: Categorical
pandas.core.arrays.datetimes: DatetimeArray
pandas.core.arrays.string_: StringArray StringDtype
pandas.core.arrays.numpy_: NumpyExtensionArray
pandas.core.dtypes.dtypes: CategoricalDtype DatetimeTZDtype
pandas._libs.arrays: __pyx_unpickle_NDArrayBacked NDArrayBacked
pandas._libs.tslibs.timestamps: _unpickle_timestamp
torch: Size device dtype layout memory_format Tensor BoolTensor ByteTensor CharTensor DoubleTensor FloatTensor HalfTensor IntTensor LongTensor ShortTensor BFloat16Tensor
torch: FloatStorage DoubleStorage HalfStorage BFloat16Storage LongStorage IntStorage ShortStorage CharStorage ByteStorage BoolStorage ComplexFloatStorage ComplexDoubleStorage QInt8Storage QUInt8Storage QInt32Storage UntypedStorage TypedStorage Float8_e4m3fnStorage Float8_e5m2Storage
torch: float16 float32 float64 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool complex64 complex128 qint8 quint8 qint32 float8_e4m3fn float8_e5m2 half float double int long short strided sparse_coo contiguous_format channels_last preserve_format per_tensor_affine per_channel_affine
torch._C: _VariableFunctions
torch.storage: UntypedStorage TypedStorage _load_from_bytes
torch.serialization: _get_layout
torch._utils: _rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter _rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_tensor _rebuild_sparse_csr_tensor _rebuild_device_tensor_from_numpy _rebuild_device_tensor_from_cpu_tensor _rebuild_meta_tensor_no_storage _rebuild_nested_tensor
torch._tensor: _rebuild_from_type_v2 Tensor
torch.nn.parameter: Parameter UninitializedParameter Buffer
torch.nn: Parameter
torch.autograd.function: BackwardCFunction
torch.jit._pickle: build_intlist build_boollist build_doublelist build_tensorlist build_tensor_from_id restore_type_tag
torch.backends.cuda: cuFFTPlanCache
xgboost.core: Booster DMatrix
lightgbm.basic: Booster Dataset
lightgbm.compat: _LGBMLabelEncoder
catboost.core: CatBoost CatBoostClassifier CatBoostRegressor
transformers.training_args: TrainingArguments OptimizerNames
transformers.trainer_utils: HubStrategy IntervalStrategy SchedulerType SaveStrategy
transformers.trainer_pt_utils: AcceleratorConfig
accelerate.state: PartialState
accelerate.utils.dataclasses: DistributedType
`

// knownClasses are modules of frameworks of which every class is known.
const knownClasses = `
sklearn.linear_model sklearn.ensemble sklearn.tree sklearn.svm sklearn.neighbors sklearn.naive_bayes
sklearn.cluster sklearn.decomposition sklearn.preprocessing sklearn.pipeline sklearn.compose
sklearn.impute sklearn.feature_extraction sklearn.feature_selection sklearn.model_selection
sklearn.neural_network sklearn.gaussian_process sklearn.mixture sklearn.manifold sklearn.covariance
sklearn.discriminant_analysis sklearn.isotonic sklearn.calibration sklearn.multiclass sklearn.multioutput
sklearn.dummy sklearn.kernel_ridge sklearn.kernel_approximation sklearn.random_projection
sklearn.semi_supervised sklearn.cross_decomposition sklearn.metrics sklearn._loss sklearn.base
torch.nn.modules torch.nn.quantized torch.optim
xgboost.sklearn lightgbm.sklearn
`

// guestClasses stand in modules of knownClasses, and are others': a pickle of one names the module
// that it is of.
const guestClasses = "Booster DMatrix QuantileDMatrix Dataset Path Parallel Memory ThreadPoolExecutor StringIO BytesIO"

// dangerousGlobals are modules, with all that is in them, and names in modules, by what they
// do.
const dangerousGlobals = `
which starts programs or acts on files: os posix nt subprocess pty popen2 commands shutil posixpath.os ntpath.os pathlib.os platform.popen platform._syscmd_ver _posixsubprocess webbrowser antigravity
which evaluates Python: builtins.eval builtins.exec builtins.compile builtins.execfile builtins.__import__ builtins.getattr builtins.setattr builtins.delattr builtins.open builtins.input builtins.globals builtins.locals builtins.vars builtins.breakpoint builtins.apply builtins.map builtins.filter builtins.reduce builtins.help builtins.memoryview builtins.classmethod builtins.hasattr builtins.dir builtins.print builtins.iter builtins.next builtins.super builtins.property builtins.exit builtins.quit builtins.file builtins.raw_input builtins.intern builtins.reload
which evaluates Python: code codeop pdb bdb cProfile profile timeit trace doctest cgitb inspect dis ast.literal_eval runpy this eval exec __builtins__ rlcompleter idlelib lib2to3 pydoc test unittest _pyrepl turtle tkinter _tkinter curses
which imports modules by name: importlib imp zipimport pkgutil zipapp modulefinder site sitecustomize usercustomize types.FunctionType types.CodeType types.MethodType types.ModuleType types.LambdaType types.BuiltinFunctionType types.CellType types.coroutine types.DynamicClassAttribute
which reaches any attribute of anything: operator.attrgetter operator.methodcaller operator.call operator.setitem operator.getitem operator.delitem _operator.attrgetter _operator.methodcaller _operator.call functools.reduce functools.partialmethod functools.cached_property functools.singledispatch functools.wraps functools.update_wrapper _functools.reduce gc weakref.finalize atexit sys _sys copyreg.add_extension copyreg.pickle copyreg.constructor copyreg.dispatch_table
which installs packages: pip ensurepip setuptools distutils easy_install venv virtualenv conda pkg_resources
which talks to the network: socket _socket ssl socketserver http urllib urllib3 requests httpx aiohttp ftplib telnetlib smtplib poplib imaplib nntplib xmlrpc asyncio asyncore asynchat paramiko fabric websocket websockets boto3 botocore huggingface_hub smart_open wsgiref
which starts processes or threads: multiprocessing threading _thread concurrent signal sched joblib.externals joblib.parallel joblib.Parallel dask distributed ray celery
which calls machine code: ctypes _ctypes cffi mmap llvmlite numba _testcapi _xxsubinterpreters _interpreters
which loads another pickle, or code: pickle _pickle cloudpickle dill marshal shelve dbm jsonpickle joblib.load joblib.numpy_pickle.load pandas.read_pickle pandas.io.pickle numpy.load numpy.core.multiarray.fromfile torch.load torch.serialization.load torch.hub torch.jit.load torch.package yaml ruamel _aix_support _osx_support
which reads or writes files: io.open io.FileIO io.open_code _io codecs.open codecs.getreader fileinput linecache tempfile glob fnmatch zipfile tarfile gzip bz2 lzma logging sqlite3 csv configparser netrc mailbox nturl2path numpy.fromfile numpy.memmap numpy.save numpy.savez numpy.savetxt numpy.loadtxt numpy.genfromtxt numpy.tofile numpy.DataSource numpy.lib.npyio numpy.lib._datasource numpy.lib.format pandas.read_csv pandas.read_json pandas.read_sql pandas.read_html pandas.io getpass uuid._get_command_stdout
which evaluates text, or starts compilers: numpy.testing numpy.f2py numpy.distutils numpy.ctypeslib numpy.lib.utils numpy.core.records.fromfile numpy.frompyfunc numpy.fromfunction numpy.apply_along_axis numpy.piecewise pandas.eval pandas.core.computation sympy jinja2 mako django flask IPython ipykernel jupyter_client nbconvert torch._inductor torch._dynamo torch.utils torch.fx torch.ops torch.classes torch.distributed torch.cuda torch.testing torch.onnx torch.compile torch.jit torch._C._jit_eval torch.library torch.export torch.multiprocessing torch.backends.xeon cython Cython pyximport scipy.weave scipy._lib scipy.io sklearn.datasets sklearn.externals sklearn.utils.estimator_checks sklearn.utils._testing statsmodels.iolib nltk tensorflow.io tensorflow.py_function tensorflow.numpy_function tensorflow.load_op_library tensorflow.keras.models keras.models keras.saving keras.layers.Lambda tensorflow.python
`

// anywhere are modules that are dangerous wherever they stand in a dotted name: a harmless
// module that imports os reaches os.
const anywhere = "os posix nt subprocess pty shutil webbrowser sys importlib runpy ctypes socket pickle marshal builtins"
