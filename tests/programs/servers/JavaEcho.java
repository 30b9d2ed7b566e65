import java.io.DataInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.util.Arrays;
import java.util.Iterator;
import java.util.Random;

/** `java JavaEcho.java ROLE PORT`: serves echoes with blocking sockets or with a selector, or asks for them. */
public class JavaEcho {
    static final int ROUNDS = 500, BIG = 4 << 20;

    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(arguments[1]);
        switch (arguments[0]) {
            case "serve-blocking" -> serveBlocking(port);
            case "serve-selector" -> serveSelector(port);
            case "ask-blocking" -> askBlocking(port);
            case "ask-channel" -> askChannel(port);
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }

    static void serveBlocking(int port) throws IOException {
        ServerSocket server = new ServerSocket(port, 50, InetAddress.getByName("127.0.0.1"));
        while (true) {
            Socket socket = server.accept();
            new Thread(() -> echo(socket)).start();
        }
    }

    static void echo(Socket socket) {
        byte[] buffer = new byte[65536];
        try (socket) {
            socket.setTcpNoDelay(true);
            InputStream in = socket.getInputStream();
            OutputStream out = socket.getOutputStream();
            for (int count; (count = in.read(buffer)) >= 0;) out.write(buffer, 0, count);
        } catch (IOException ended) {
            // the client has gone
        }
    }

    static void serveSelector(int port) throws IOException {
        Selector selector = Selector.open();
        ServerSocketChannel server = ServerSocketChannel.open();
        server.bind(new InetSocketAddress("127.0.0.1", port));
        server.configureBlocking(false);
        server.register(selector, SelectionKey.OP_ACCEPT);
        while (true) {
            selector.select();
            for (Iterator<SelectionKey> keys = selector.selectedKeys().iterator(); keys.hasNext();) {
                SelectionKey key = keys.next();
                keys.remove();
                if (key.isAcceptable()) accept(selector, server);
                else turn(key);
            }
        }
    }

    static void accept(Selector selector, ServerSocketChannel server) throws IOException {
        SocketChannel channel = server.accept();
        channel.configureBlocking(false);
        channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
        channel.register(selector, SelectionKey.OP_READ, ByteBuffer.allocateDirect(65536));
    }

    /** Reads while the buffer has been written, writes what there is, and waits for whichever is missing. */
    static void turn(SelectionKey key) throws IOException {
        SocketChannel channel = (SocketChannel) key.channel();
        ByteBuffer buffer = (ByteBuffer) key.attachment();
        try {
            if (key.isReadable()) {
                if (channel.read(buffer) < 0) {
                    channel.close();
                    return;
                }
                buffer.flip();
            }
            channel.write(buffer);
            if (buffer.hasRemaining()) {
                key.interestOps(SelectionKey.OP_WRITE);
            } else {
                buffer.clear();
                key.interestOps(SelectionKey.OP_READ);
            }
        } catch (IOException ended) {
            channel.close();
        }
    }

    static void askBlocking(int port) throws Exception {
        byte[] small = "x".repeat(64).getBytes(), big = new byte[BIG];
        new Random(1).nextBytes(big);
        try (Socket socket = new Socket("127.0.0.1", port)) {
            socket.setTcpNoDelay(true);
            socket.setSoTimeout(10_000);
            DataInputStream in = new DataInputStream(socket.getInputStream());
            OutputStream out = socket.getOutputStream();
            for (int round = 0; round < ROUNDS; round++) {
                out.write(small);
                check(small, in.readNBytes(small.length));
            }
            Thread sender = new Thread(() -> {
                try {
                    out.write(big);
                } catch (IOException failure) {
                    throw new RuntimeException(failure);
                }
            });
            sender.start();
            check(big, in.readNBytes(BIG));
            sender.join();
        }
        System.out.println("all came back");
    }

    static void askChannel(int port) throws Exception {
        ByteBuffer small = ByteBuffer.wrap("x".repeat(64).getBytes()), back = ByteBuffer.allocateDirect(64);
        try (SocketChannel channel = SocketChannel.open(new InetSocketAddress("127.0.0.1", port))) {
            channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
            for (int round = 0; round < ROUNDS; round++) {
                small.rewind();
                channel.write(small);
                back.clear();
                while (back.hasRemaining()) channel.read(back);
                byte[] got = new byte[64];
                back.flip();
                back.get(got);
                check(small.array(), got);
            }
        }
        System.out.println("all came back");
    }

    static void check(byte[] wanted, byte[] got) {
        if (!Arrays.equals(wanted, got)) throw new IllegalStateException("not what was sent");
    }
}
