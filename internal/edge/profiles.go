package edge

// profiles has the products, from the most particular to the most general: where two
// have the same path, the first names what is refused.
var profiles = []profile{
	{"triton", ofTriton, []row{
		{Metrics, `GET /v2/models/stats`}, // before the model of that name, which no route can then describe
		{Health, `+GET /v2/health/live
			+GET /v2/health/ready
			+GET /v2/models/{model}/ready
			GET /v2/models/{model}/versions/{version}/ready
			+POST /inference.GRPCInferenceService/ServerLive
			+POST /inference.GRPCInferenceService/ServerReady
			+POST /inference.GRPCInferenceService/ModelReady
			POST /grpc.health.v1.Health/Check
			POST /grpc.health.v1.Health/Watch`},
		{Describe, `+GET /v2
			+GET /v2/models/{model}
			GET /v2/models/{model}/versions/{version}
			GET /v2/models/{model}/config
			GET /v2/models/{model}/versions/{version}/config
			+POST /inference.GRPCInferenceService/ServerMetadata
			+POST /inference.GRPCInferenceService/ModelMetadata
			POST /inference.GRPCInferenceService/ModelConfig
			POST /grpc.reflection.v1.ServerReflection/ServerReflectionInfo
			POST /grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo`},
		{Infer, `+POST /v2/models/{model}/infer
			POST /v2/models/{model}/versions/{version}/infer
			* /v2/models/{model}/generate
			* /v2/models/{model}/generate_stream
			* /v2/models/{model}/versions/{version}/generate
			* /v2/models/{model}/versions/{version}/generate_stream
			+POST /inference.GRPCInferenceService/ModelInfer
			+POST /inference.GRPCInferenceService/ModelStreamInfer`},
		{Control, `GET /v2/repository/index
			POST /v2/repository/index
			POST /v2/repository/{repository}/index
			POST /v2/repository/models/{model}/load
			POST /v2/repository/models/{model}/unload
			POST /v2/repository/{repository}/models/{model}/load
			POST /v2/repository/{repository}/models/{model}/unload
			POST /inference.GRPCInferenceService/RepositoryIndex
			POST /inference.GRPCInferenceService/RepositoryModelLoad
			POST /inference.GRPCInferenceService/RepositoryModelUnload`},
		{Memory, `GET /v2/systemsharedmemory/status
			GET /v2/systemsharedmemory/region/{region}/status
			POST /v2/systemsharedmemory/region/{region}/register
			POST /v2/systemsharedmemory/region/{region}/unregister
			POST /v2/systemsharedmemory/unregister
			GET /v2/cudasharedmemory/status
			GET /v2/cudasharedmemory/region/{region}/status
			POST /v2/cudasharedmemory/region/{region}/register
			POST /v2/cudasharedmemory/region/{region}/unregister
			POST /v2/cudasharedmemory/unregister
			* /v2/systemsharedmemory/{rest...}
			* /v2/cudasharedmemory/{rest...}
			* /v2/xpusharedmemory/{rest...}
			POST /inference.GRPCInferenceService/SystemSharedMemoryStatus
			POST /inference.GRPCInferenceService/SystemSharedMemoryRegister
			POST /inference.GRPCInferenceService/SystemSharedMemoryUnregister
			POST /inference.GRPCInferenceService/CudaSharedMemoryStatus
			POST /inference.GRPCInferenceService/CudaSharedMemoryRegister
			POST /inference.GRPCInferenceService/CudaSharedMemoryUnregister
			POST /inference.GRPCInferenceService/XpuSharedMemoryStatus
			POST /inference.GRPCInferenceService/XpuSharedMemoryRegister
			POST /inference.GRPCInferenceService/XpuSharedMemoryUnregister`},
		{Trace, `GET /v2/trace/setting
			POST /v2/trace/setting
			GET /v2/models/{model}/trace/setting
			POST /v2/models/{model}/trace/setting
			* /v2/trace/{rest...}
			POST /inference.GRPCInferenceService/TraceSetting`},
		{Logging, `GET /v2/logging
			POST /v2/logging
			* /v2/logging/{rest...}
			POST /inference.GRPCInferenceService/LogSettings`},
		{Metrics, `GET /metrics
			GET /v2/models/{model}/stats
			GET /v2/models/{model}/versions/{version}/stats
			POST /inference.GRPCInferenceService/ModelStatistics`},
		{Control, `* /v2/repository/{rest...}`},
	}},
	{"tfserving", ofTF, []row{
		{Infer, `+POST /v1/models/{model}:predict
			+POST /v1/models/{model}/versions/{version}:predict
			POST /v1/models/{model}/labels/{label}:predict
			POST /v1/models/{model}:classify
			POST /v1/models/{model}:regress
			POST /v1/models/{model}/versions/{version}:classify
			POST /v1/models/{model}/versions/{version}:regress
			POST /v1/models/{model}/labels/{label}:classify
			POST /v1/models/{model}/labels/{label}:regress
			POST /tensorflow.serving.PredictionService/Predict
			POST /tensorflow.serving.PredictionService/Classify
			POST /tensorflow.serving.PredictionService/Regress
			POST /tensorflow.serving.PredictionService/MultiInference
			POST /tensorflow.serving.SessionService/SessionRun`},
		{Health, `+GET /v1/models/{model}
			+GET /v1/models/{model}/versions/{version}
			GET /v1/models/{model}/labels/{label}
			POST /tensorflow.serving.ModelService/GetModelStatus`},
		{Describe, `+GET /v1/models/{model}/metadata
			+GET /v1/models/{model}/versions/{version}/metadata
			GET /v1/models/{model}/labels/{label}/metadata
			POST /tensorflow.serving.PredictionService/GetModelMetadata`},
		{Control, `POST /tensorflow.serving.ModelService/HandleReloadConfigRequest`},
		{Metrics, `GET /monitoring/prometheus/metrics`},
		{Trace, `* /monitoring/profiler/{rest...}
			POST /tensorflow.ProfilerService/Profile
			POST /tensorflow.ProfilerService/Monitor`},
	}},
	{"kserve", ofKServe, []row{
		{Health, `GET /v2/repository/models/{model}/ready`},
		{Infer, `POST /v1/models/{model}:explain
			POST /v2/models/{model}/explain
			* /openai/v1/{rest...}
			* /openai/{rest...}`},
		{Describe, `GET /v2/models`},
		{Metrics, `GET /metrics`},
	}},
	{"torchserve", ofTorch, []row{
		{Infer, `+POST /predictions/{model}
			+POST /predictions/{model}/{version}
			* /predictions/{model}
			* /predictions/{model}/{version}
			* /explanations/{model}
			* /explanations/{model}/{version}
			* /wfpredict/{workflow}
			POST /models/{model}/invoke
			POST /org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions
			POST /org.pytorch.serve.grpc.inference.InferenceAPIsService/StreamPredictions
			POST /org.pytorch.serve.grpc.inference.InferenceAPIsService/StreamPredictions2
			POST /org.pytorch.serve.grpc.openinference.GRPCInferenceService/ModelInfer`},
		{Health, `+GET /ping
			POST /org.pytorch.serve.grpc.inference.InferenceAPIsService/Ping`},
		{Describe, `OPTIONS /
			GET /api-description`},
		{Control, `GET /models
			POST /models
			GET /models/{model}
			PUT /models/{model}
			DELETE /models/{model}
			GET /models/{model}/{version}
			PUT /models/{model}/{version}
			DELETE /models/{model}/{version}
			PUT /models/{model}/{version}/set-default
			PUT /models/{model}/set-default
			GET /workflows
			POST /workflows
			* /workflows/{workflow}
			GET /token
			POST /org.pytorch.serve.grpc.management.ManagementAPIsService/DescribeModel
			POST /org.pytorch.serve.grpc.management.ManagementAPIsService/ListModels
			POST /org.pytorch.serve.grpc.management.ManagementAPIsService/RegisterModel
			POST /org.pytorch.serve.grpc.management.ManagementAPIsService/ScaleWorker
			POST /org.pytorch.serve.grpc.management.ManagementAPIsService/SetDefault
			POST /org.pytorch.serve.grpc.management.ManagementAPIsService/UnregisterModel`},
		{Metrics, `GET /metrics`},
	}},
	{"mlflow", ofMLflow, []row{
		{Infer, `+POST /invocations
			+POST /models/{model}/invocations`},
		{Health, `+GET /ping
			GET /health`},
		{Describe, `+GET /version`},
		{Control, `* /api/2.0/{rest...}
			* /ajax-api/{rest...}`},
	}},
	{"vllm", ofOpenAIs, []row{
		{Infer, `POST /pooling
			POST /classify
			POST /score
			POST /rerank
			POST /v1/score
			POST /v1/rerank
			POST /v2/rerank
			POST /v2/embed
			POST /v1/messages
			POST /v1/messages/count_tokens
			POST /v1/audio/transcriptions
			POST /v1/audio/translations
			* /v1/realtime
			* /inference/{rest...}
			* /cohere/{rest...}
			POST /generate
			POST /generative_scoring`},
		{Health, `GET /health
			GET /load
			* /ping`},
		{Describe, `GET /server_info
			GET /get_world_size`},
		{Tokenize, `POST /tokenize
			POST /detokenize
			GET /tokenizer_info`},
		{Control, `POST /pause
			POST /resume
			GET /is_paused
			POST /abort_requests
			POST /sleep
			POST /wake_up
			GET /is_sleeping
			POST /reset_prefix_cache
			POST /reset_mm_cache
			POST /reset_encoder_cache
			POST /collective_rpc
			POST /scale_elastic_ep
			POST /is_scaling_elastic_ep`},
		{Weights, `POST /update_weights
			POST /init_weight_transfer_engine
			POST /start_weight_update
			POST /finish_weight_update
			POST /v1/load_lora_adapter
			POST /v1/unload_lora_adapter`},
		{Trace, `POST /start_profile
			POST /stop_profile`},
		{Metrics, `GET /metrics`},
	}},
	{"ollama", ofOpenAIs, []row{
		{Infer, `* /api/generate
			* /api/chat
			* /api/embed
			* /api/embeddings`},
		{Describe, `GET /api/tags
			GET /api/ps
			GET /api/version
			POST /api/show
			POST /api/me`},
		{Weights, `* /api/blobs/{digest}`},
		{Control, `POST /api/create
			POST /api/copy
			POST /api/pull
			POST /api/push
			DELETE /api/delete
			POST /api/signout
			* /api/{rest...}`},
	}},
	{"openai", ofOpenAIs, []row{
		{Infer, `+POST /v1/chat/completions
			+POST /v1/completions
			+POST /v1/responses
			+POST /v1/embeddings
			* /v1/images/{rest...}
			* /v1/videos
			* /v1/videos/{rest...}
			POST /v1/audio/speech
			* /v1/realtime/{rest...}
			POST /v1/moderations
			POST /v1/edits`},
		{Describe, `+GET /v1/models
			+GET /v1/models/{model}`},
		{Control, `DELETE /v1/models/{model}
			* /v1/organization/{rest...}`},
		{Tokenize, `POST /v1/tokenize
			POST /v1/detokenize`},
		{Weights, `* /v1/fine_tuning/{rest...}
			* /v1/fine-tunes
			* /v1/fine-tunes/{rest...}`},
		{Files, `* /v1/files
			* /v1/files/{rest...}
			* /v1/uploads
			* /v1/uploads/{rest...}
			* /v1/batches
			* /v1/batches/{rest...}
			* /v1/vector_stores
			* /v1/vector_stores/{rest...}
			* /v1/assistants
			* /v1/assistants/{rest...}
			* /v1/threads
			* /v1/threads/{rest...}
			* /v1/containers
			* /v1/containers/{rest...}
			* /v1/conversations
			* /v1/conversations/{rest...}
			* /v1/evals
			* /v1/evals/{rest...}
			* /v1/chat/completions
			* /v1/chat/completions/{rest...}
			* /v1/responses/{rest...}`},
	}},
}
