package bench;

import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.TensorInfo;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;

/** One model of one input and one output, one thread, as the paper sets it. Buffers lie outside the heap and are used again. */
final class Onnx {
    final OrtEnvironment environment = OrtEnvironment.getEnvironment();
    final OrtSession session;
    final String inputName;
    final String outputName;
    /** Numbers of one row. */
    final int inputWidth;
    final int outputWidth;
    private int rows;
    private ByteBuffer input;
    private ByteBuffer output;
    private Map<String, OnnxTensor> inputs;
    private Map<String, OnnxTensor> outputs;

    Onnx(String file) throws OrtException {
        OrtSession.SessionOptions options = new OrtSession.SessionOptions();
        options.setIntraOpNumThreads(1);
        options.setInterOpNumThreads(1);
        session = environment.createSession(file, options);
        inputName = session.getInputNames().iterator().next();
        outputName = session.getOutputNames().iterator().next();
        inputWidth = width(input());
        outputWidth = width(output());
    }

    private TensorInfo input() throws OrtException {
        return (TensorInfo) session.getInputInfo().get(inputName).getInfo();
    }

    private TensorInfo output() throws OrtException {
        return (TensorInfo) session.getOutputInfo().get(outputName).getInfo();
    }

    private static int width(TensorInfo of) {
        long width = 1;
        for (long length : shape(1, of)) width *= length;
        return Math.toIntExact(width);
    }

    long[] inputShape(int rows) throws OrtException {
        return shape(rows, input());
    }

    /** The buffer that the next run of so many rows reads: little-endian, to be filled from position 0. */
    ByteBuffer input(int rows) throws OrtException {
        if (rows != this.rows) resize(rows);
        input.clear();
        return input;
    }

    /** One run; the output's numbers, to be read from position 0. */
    ByteBuffer run() throws OrtException {
        session.run(inputs, outputs).close();
        output.clear();
        return output;
    }

    private void resize(int rows) throws OrtException {
        input = buffer(rows, input());
        output = buffer(rows, output());
        inputs = Map.of(inputName, tensor(input, rows, input()));
        outputs = Map.of(outputName, tensor(output, rows, output()));
        this.rows = rows;
    }

    private static long[] shape(int rows, TensorInfo of) {
        long[] shape = of.getShape().clone();
        shape[0] = rows;
        return shape;
    }

    private static ByteBuffer buffer(int rows, TensorInfo of) {
        return ByteBuffer.allocateDirect(Math.multiplyExact(rows, width(of)) * of.type.size).order(ByteOrder.nativeOrder());
    }

    private OnnxTensor tensor(ByteBuffer buffer, int rows, TensorInfo of) throws OrtException {
        OnnxJavaType type = of.type;
        return type == OnnxJavaType.DOUBLE
            ? OnnxTensor.createTensor(environment, buffer.asDoubleBuffer(), shape(rows, of))
            : OnnxTensor.createTensor(environment, buffer.asFloatBuffer(), shape(rows, of));
    }
}
